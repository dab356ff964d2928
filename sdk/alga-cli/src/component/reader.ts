/** A cursor over part of a binary that never reads past its end. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get atEnd(): boolean {
    return this.#at >= this.#end;
  }

  byte(): number {
    const value = this.#at < this.#end ? this.#bytes[this.#at] : undefined;
    if (value === undefined) throw new RangeError('the component is truncated');
    this.#at += 1;
    return value;
  }

  /** LEB128, at most 32 bits. */
  unsigned(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw new SyntaxError('a number is too long');
  }

  /** Skips a signed LEB128 number. */
  signed(): void {
    for (let length = 0; length < 5; length += 1) if ((this.byte() & 0x80) === 0) return;
    throw new SyntaxError('a number is too long');
  }

  slice(length: number): Reader {
    if (this.#at + length > this.#end) throw new RangeError('the component is truncated');
    const part = new Reader(this.#bytes, this.#at, this.#at + length);
    this.#at += length;
    return part;
  }

  text(): string {
    const length = this.unsigned();
    const start = this.#at;
    this.slice(length);
    return new TextDecoder('utf-8', { fatal: true }).decode(
      this.#bytes.subarray(start, start + length),
    );
  }
}
