/** UTF-8 in both directions, as the Encoding standard has it; other encodings are refused. */

export class Utf8Encoder {
  readonly encoding = 'utf-8';

  encode(text: unknown = ''): Uint8Array {
    const input = String(text);
    let out = new Uint8Array(input.length + (input.length >> 1) + 8);
    let used = 0;
    for (let at = 0; at < input.length; at += 1) {
      let code = input.charCodeAt(at);
      if (code >= 0xd800 && code <= 0xdfff) {
        const low = input.charCodeAt(at + 1);
        if (code < 0xdc00 && low >= 0xdc00 && low <= 0xdfff) {
          code = ((code - 0xd800) << 10) + (low - 0xdc00) + 0x10000;
          at += 1;
        } else {
          code = 0xfffd;
        }
      }
      if (used + 4 > out.length) {
        const larger = new Uint8Array(out.length * 2);
        larger.set(out);
        out = larger;
      }
      if (code < 0x80) {
        out[used++] = code;
      } else if (code < 0x800) {
        out[used++] = 0xc0 | (code >> 6);
        out[used++] = 0x80 | (code & 63);
      } else if (code < 0x10000) {
        out[used++] = 0xe0 | (code >> 12);
        out[used++] = 0x80 | ((code >> 6) & 63);
        out[used++] = 0x80 | (code & 63);
      } else {
        out[used++] = 0xf0 | (code >> 18);
        out[used++] = 0x80 | ((code >> 12) & 63);
        out[used++] = 0x80 | ((code >> 6) & 63);
        out[used++] = 0x80 | (code & 63);
      }
    }
    return out.slice(0, used);
  }

  encodeInto(text: string, target: Uint8Array): { read: number; written: number } {
    let read = 0;
    let written = 0;
    for (const character of text) {
      const bytes = this.encode(character);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}

const UTF8 = new Set(['utf-8', 'utf8', 'unicode-1-1-utf-8']);
/** Characters made into a string at once; an argument list has an end. */
const CHUNK = 4096;

export class Utf8Decoder {
  readonly encoding = 'utf-8';
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;

  constructor(label: unknown = 'utf-8', options: { fatal?: boolean; ignoreBOM?: boolean } = {}) {
    if (!UTF8.has(String(label).trim().toLowerCase())) {
      throw new RangeError(
        `TextDecoder: "${String(label)}" is not there on QuickJS, only utf-8; build with --engine starlingmonkey`,
      );
    }
    this.fatal = options.fatal === true;
    this.ignoreBOM = options.ignoreBOM === true;
  }

  decode(input?: ArrayBuffer | ArrayBufferView, options: { stream?: boolean } = {}): string {
    if (options.stream === true) {
      throw new TypeError('TextDecoder: there is no streaming on QuickJS');
    }
    const bytes = bytesOf(input);
    const codes: number[] = [];
    let text = '';
    let at = 0;
    if (!this.ignoreBOM && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) at = 3;
    while (at < bytes.length) {
      const [code, length] = decodeOne(bytes, at);
      if (code < 0) {
        if (this.fatal) throw new TypeError('TextDecoder: the data is not UTF-8');
        codes.push(0xfffd);
      } else {
        codes.push(code);
      }
      at += length;
      if (codes.length === CHUNK) {
        text += String.fromCodePoint(...codes);
        codes.length = 0;
      }
    }
    return text + String.fromCodePoint(...codes);
  }
}

function bytesOf(input: ArrayBuffer | ArrayBufferView | undefined): Uint8Array {
  if (input === undefined) return new Uint8Array();
  if (ArrayBuffer.isView(input)) {
    return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  }
  return new Uint8Array(input);
}

/**
 * The code point at `at` and how many bytes it takes; −1 with the length of the longest beginning
 * of a character for what is none.
 */
function decodeOne(bytes: Uint8Array, at: number): [number, number] {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return [first, 1];
  const more = first >= 0xc2 && first <= 0xdf ? 1 : first < 0xf0 ? 2 : 3;
  if (first < 0xc2 || first > 0xf4) return [-1, 1];
  let lower = 0x80;
  let upper = 0xbf;
  if (first === 0xe0) lower = 0xa0;
  if (first === 0xed) upper = 0x9f;
  if (first === 0xf0) lower = 0x90;
  if (first === 0xf4) upper = 0x8f;
  let code = first & (more === 1 ? 0x1f : more === 2 ? 0x0f : 0x07);
  for (let index = 1; index <= more; index += 1) {
    const byte = bytes[at + index];
    if (byte === undefined || byte < lower || byte > upper) return [-1, index];
    lower = 0x80;
    upper = 0xbf;
    code = (code << 6) | (byte & 63);
  }
  return [code, more + 1];
}
