/** A picture of 8-bit RGB as PNG (W3C PNG 3rd edition: signature, IHDR, IDAT, IEND; no filter). */

import { crc32, deflateSync } from 'node:zlib';

export type Colour = readonly [red: number, green: number, blue: number];

export class Picture {
  readonly width: number;
  readonly height: number;
  /** (height, width, 3) */
  readonly #pixels: Uint8Array;

  constructor(width: number, height: number, background: Colour) {
    this.width = width;
    this.height = height;
    this.#pixels = new Uint8Array(3 * width * height);
    this.fill(0, 0, width, height, background);
  }

  /** Colours `[left, right) × [top, bottom)`, as far as it lies inside. */
  fill(left: number, top: number, right: number, bottom: number, colour: Colour): void {
    const [from, to] = [Math.max(0, Math.round(left)), Math.min(this.width, Math.round(right))];
    const end = Math.min(this.height, Math.round(bottom));
    for (let y = Math.max(0, Math.round(top)); y < end; y += 1) {
      for (let x = from; x < to; x += 1) this.#pixels.set(colour, 3 * (y * this.width + x));
    }
  }

  png(): Uint8Array {
    const head = Buffer.alloc(13);
    head.writeUInt32BE(this.width, 0);
    head.writeUInt32BE(this.height, 4);
    head.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB
    const stride = 3 * this.width;
    const lines = Buffer.alloc(this.height * (stride + 1));
    for (let y = 0; y < this.height; y += 1) {
      lines.set(this.#pixels.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
    }
    const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
    return Buffer.concat([
      signature,
      chunk('IHDR', head),
      chunk('IDAT', deflateSync(lines)),
      chunk('IEND', new Uint8Array(0)),
    ]);
  }
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}
