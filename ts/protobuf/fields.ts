/**
 * Messages of protocol buffers by field number: what W&B and TensorBoard read, without generated
 * code.
 */

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Writes the fields of one message; as in proto3, a value that is its type's zero is left out. */
export class Fields {
  readonly #writer = new BinaryWriter();

  text(field: number, value: string): this {
    if (value !== '') this.#writer.tag(field, WireType.LengthDelimited).string(value);
    return this;
  }

  /** int32, int64 or an enum. */
  integer(field: number, value: number): this {
    if (value !== 0) this.#writer.tag(field, WireType.Varint).int64(value);
    return this;
  }

  flag(field: number, value: boolean): this {
    if (value) this.#writer.tag(field, WireType.Varint).bool(value);
    return this;
  }

  float(field: number, value: number): this {
    if (value !== 0) this.#writer.tag(field, WireType.Bit32).float(value);
    return this;
  }

  double(field: number, value: number): this {
    if (value !== 0) this.#writer.tag(field, WireType.Bit64).double(value);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    if (value.length > 0) this.#writer.tag(field, WireType.LengthDelimited).bytes(value);
    return this;
  }

  /** A message inside; also an empty one, since it may be the chosen member of a oneof. */
  message(field: number, write: (inner: Fields) => void): this {
    this.#writer.tag(field, WireType.LengthDelimited).fork();
    write(this);
    this.#writer.join();
    return this;
  }

  /** google.protobuf.Timestamp of a time in ms. */
  timestamp(field: number, ms: number): this {
    const seconds = Math.floor(ms / 1000);
    const nanos = Math.round((ms - seconds * 1000) * 1e6);
    return this.message(field, (inner) => inner.integer(1, seconds).integer(2, nanos));
  }

  finish(): Uint8Array {
    return this.#writer.finish();
  }
}
