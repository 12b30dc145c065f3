// Runs a program for a limited time and keeps what it said.

import { spawn } from 'node:child_process';

const KEPT = 20_000; // characters of its end

/**
 * @returns {Promise<{ok: boolean, status: number | null, stdout: string, stderr: string,
 * seconds: number, notRun: string | null}>} `notRun` says why it did not run to its end
 */
export function runFor(seconds, command, args, { env = {}, cwd } = {}) {
  return new Promise((resolve) => {
    const began = performance.now();
    const options = { env: { ...process.env, ...env }, cwd, stdio: ['ignore', 'pipe', 'pipe'] };
    const child = spawn(command, args, { ...options, detached: true });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].on('data', (chunk) => {
        said[name] = `${said[name]}${chunk}`.slice(-200 * KEPT);
      });
    }
    let notRun = null;
    const timer = setTimeout(() => {
      notRun = `stopped after ${seconds.toFixed(0)} s, its limit`;
      try {
        process.kill(-child.pid, 'SIGKILL'); // and what it has started
      } catch {} // it has just ended
    }, seconds * 1000);
    const done = (status) => {
      clearTimeout(timer);
      const { stdout, stderr } = said;
      const took = (performance.now() - began) / 1000;
      resolve({ ok: status === 0, status, stdout, stderr, seconds: took, notRun });
    };
    child.on('error', ({ message }) => {
      notRun = message;
      done(null);
    });
    child.on('close', done);
  });
}

/** The last lines that say something: what a report quotes. */
export function lastLines(text, count = 3) {
  const lines = text
    .trim()
    .split('\n')
    .filter((line) => line.trim() !== '');
  return lines.slice(-count).join('\n').slice(-600);
}
