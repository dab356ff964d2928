import type { Random } from './wasi.js';

/** Random bytes asked for at once; a call of the host costs more than the bytes. */
const BLOCK = 256;
/** The limit of the Web Crypto standard for one call. */
const MOST_BYTES = 65_536;

type IntegerArray =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/**
 * Randomness of the host in place of the engine's, whose seed is part of the component: every
 * instance would draw the same numbers. Before `begin()` there is no host to ask, and drawing is an
 * error, as on StarlingMonkey: the number would be the same in every execution.
 */
export class HostRandom {
  #host: Random | undefined;
  #block: Uint8Array = new Uint8Array();
  #used = 0;

  /** Called when the first request arrives. */
  begin(host: Random): void {
    this.#host = host;
  }

  /** In place of `Math.random`: 53 random bits. */
  number(): number {
    const bytes = this.#take(8);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    return ((view.getUint32(0) >>> 5) * 0x4000000 + (view.getUint32(4) >>> 6)) / 2 ** 53;
  }

  /** `crypto` without `subtle`. */
  readonly crypto = {
    getRandomValues: <A extends IntegerArray>(array: A): A => {
      if (!ArrayBuffer.isView(array) || /Float|DataView/.test(array.constructor.name)) {
        throw new TypeError('getRandomValues: expected an array of integers');
      }
      if (array.byteLength > MOST_BYTES) {
        throw new RangeError(`getRandomValues: at most ${MOST_BYTES} bytes at once`);
      }
      const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      if (bytes.length > 0) bytes.set(this.#take(bytes.length));
      return array;
    },
    randomUUID: (): string => {
      const bytes = Uint8Array.from(this.#take(16));
      bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
      bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
      const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
      return [0, 8, 12, 16, 20]
        .map((from, index, all) => hex.slice(from, all[index + 1]))
        .join('-');
    },
  };

  #take(count: number): Uint8Array {
    const host = this.#host;
    if (host === undefined) {
      throw new Error(
        'There are no random numbers while the component is built: draw them in the handler',
      );
    }
    if (count > BLOCK) return host.getRandomBytes(count);
    if (this.#block.length - this.#used < count) {
      this.#block = host.getRandomBytes(BLOCK);
      this.#used = 0;
    }
    this.#used += count;
    return this.#block.subarray(this.#used - count, this.#used);
  }
}
