// Python with real PEFT: one virtual environment with torch and the newest PEFT, and a folder with
// PEFT 0.13 and its older companions, which goes before it on PYTHONPATH. So torch, 5.6 GB with
// CUDA on disk, is there once.

import { overlay, virtualEnvironment } from '../python/environment.mjs';

/** The environments by name, or null when one cannot be made. */
export function preparedEnvironments() {
  const python = virtualEnvironment('peft-newest');
  const older = python === null ? null : overlay('peft-0.13', python);
  if (python === null || older === null) return null;
  return [
    { name: '0.13', python, path: older },
    { name: 'newest', python, path: '' },
  ];
}
