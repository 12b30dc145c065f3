/**
 * TensorBoard's event files: TFRecords of `tensorflow.Event` messages.
 *
 * ```text
 * record = length (u64, little-endian) · masked CRC-32C of the length (u32)
 *          · event · masked CRC-32C of the event (u32)
 * mask(c) = rotate right(c, 15) + 0xa282ead8      modulo 2^32
 * ```
 *
 * The first event names the version, `brain.Event:2`. A reader stops at a record that is not whole.
 */

import { AppendedFile } from '../logging/appended-file.ts';
import { Fields } from '../protobuf/fields.ts';

/** What an event says, at one step. */
export type SummaryValue =
  | { readonly tag: string; readonly scalar: number }
  | { readonly tag: string; readonly text: string }
  | {
      readonly tag: string;
      readonly png: Uint8Array;
      readonly width: number;
      readonly height: number;
    };

/** TensorBoard itself looks every few seconds. */
const HOLD_MS = 500;

export class EventFile {
  readonly #file: AppendedFile;

  private constructor(file: AppendedFile) {
    this.#file = file;
  }

  /** A new file. */
  static async create(path: string, timeMs: number): Promise<EventFile> {
    const events = new EventFile(await AppendedFile.create(path, HOLD_MS));
    events.#append(
      new Fields()
        .double(1, timeMs / 1000)
        .text(3, 'brain.Event:2')
        .finish(),
    );
    return events;
  }

  /** Puts values of one step last. @throws what an earlier write failed with */
  write(values: readonly SummaryValue[], step: number, timeMs: number): void {
    const event = new Fields()
      .double(1, timeMs / 1000)
      .integer(2, step)
      .message(5, (summary) => {
        for (const value of values) summary.message(1, (message) => writeValue(message, value));
      });
    this.#append(event.finish());
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #append(event: Uint8Array): void {
    const head = Buffer.alloc(12);
    head.writeBigUInt64LE(BigInt(event.length), 0);
    head.writeUInt32LE(maskedCrc(head.subarray(0, 8)), 8);
    const tail = Buffer.alloc(4);
    tail.writeUInt32LE(maskedCrc(event), 0);
    this.#file.append(Buffer.concat([head, event, tail]));
  }
}

/** `tensorflow.Summary.Value` */
function writeValue(message: Fields, value: SummaryValue): void {
  message.text(1, value.tag);
  if ('scalar' in value) {
    const scalar = Buffer.alloc(4);
    scalar.writeFloatLE(value.scalar);
    message.bytes(9, SCALAR_METADATA).bytes(8, Buffer.concat([SCALAR_TENSOR, scalar]));
  } else if ('text' in value) {
    message.message(9, (metadata) => metadata.message(1, (plugin) => plugin.text(1, 'text')));
    message.message(8, (tensor) => {
      tensor
        .integer(1, DT_STRING)
        .message(2, (shape) => shape.message(2, (size) => size.integer(1, 1)));
      tensor.bytes(8, Buffer.from(value.text));
    });
  } else {
    message.message(4, (image) => {
      image.integer(1, value.height).integer(2, value.width).integer(3, 3).bytes(4, value.png);
    });
  }
}

/** `tensorflow.DataType` */
const DT_FLOAT = 1;
const DT_STRING = 7;

/** `tensorflow.SummaryMetadata` of a scalar. */
const SCALAR_METADATA = new Fields().message(1, (plugin) => plugin.text(1, 'scalars')).finish();

/** `tensorflow.TensorProto` of one float, up to its four bytes. */
const SCALAR_TENSOR = new Fields()
  .integer(1, DT_FLOAT)
  .message(2, () => undefined)
  .bytes(4, new Uint8Array(4))
  .finish()
  .subarray(0, -4);

/** CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) by a table of bytes. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = ((TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)) >>> 0;
  crc = (crc ^ 0xffffffff) >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
