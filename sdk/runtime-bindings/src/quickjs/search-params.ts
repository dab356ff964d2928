import { Utf8Decoder, Utf8Encoder } from './text.js';

type Pair = [string, string];

const encoder = new Utf8Encoder();
const decoder = new Utf8Decoder('utf-8', { ignoreBOM: true });

/** `URLSearchParams` of the URL standard. */
export class SearchParams {
  #pairs: Pair[];
  readonly #changed: ((query: string) => void) | undefined;

  /** @param changed told of every change, by the URL that these parameters belong to */
  constructor(init: unknown = '', changed?: (query: string) => void) {
    this.#pairs = pairsOf(init);
    this.#changed = changed;
  }

  get size(): number {
    return this.#pairs.length;
  }

  get(name: unknown): string | null {
    return this.#pairs.find(([key]) => key === String(name))?.[1] ?? null;
  }

  getAll(name: unknown): string[] {
    return this.#pairs.filter(([key]) => key === String(name)).map(([, value]) => value);
  }

  has(name: unknown, value?: unknown): boolean {
    return this.#pairs.some(
      ([key, held]) => key === String(name) && (value === undefined || held === wellFormed(value)),
    );
  }

  append(name: unknown, value: unknown): void {
    this.#pairs.push([wellFormed(name), wellFormed(value)]);
    this.#tell();
  }

  set(name: unknown, value: unknown): void {
    const first = this.#pairs.findIndex(([key]) => key === String(name));
    if (first < 0) {
      this.append(name, value);
      return;
    }
    this.#pairs = this.#pairs.filter(([key], index) => key !== String(name) || index === first);
    this.#pairs[first] = [wellFormed(name), wellFormed(value)];
    this.#tell();
  }

  delete(name: unknown, value?: unknown): void {
    this.#pairs = this.#pairs.filter(
      ([key, held]) => key !== String(name) || (value !== undefined && held !== wellFormed(value)),
    );
    this.#tell();
  }

  sort(): void {
    this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.#tell();
  }

  forEach(run: (value: string, name: string, parent: SearchParams) => void, self?: unknown): void {
    for (const [name, value] of this) Reflect.apply(run, self, [value, name, this]);
  }

  *entries(): IterableIterator<Pair> {
    for (const [name, value] of this.#pairs) yield [name, value];
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this.#pairs) yield name;
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this.#pairs) yield value;
  }

  [Symbol.iterator](): IterableIterator<Pair> {
    return this.entries();
  }

  toString(): string {
    return this.#pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&');
  }

  get [Symbol.toStringTag](): string {
    return 'URLSearchParams';
  }

  #tell(): void {
    this.#changed?.(this.toString());
  }
}

function pairsOf(init: unknown): Pair[] {
  if (typeof init === 'object' && init !== null) {
    const pairs = Symbol.iterator in init ? [...(init as Iterable<unknown>)] : Object.entries(init);
    return pairs.map((pair) => {
      const [name, value, ...rest] = pair as unknown[];
      if (!Array.isArray(pair) || pair.length !== 2 || rest.length > 0) {
        throw new TypeError('URLSearchParams: each pair needs a name and a value');
      }
      return [wellFormed(name), wellFormed(value)];
    });
  }
  return wellFormed(init)
    .replace(/^\?/, '')
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      const [name, value] = at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)];
      return [decode(name), decode(value)];
    });
}

function wellFormed(value: unknown): string {
  return String(value).replace(
    /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
    '\ufffd',
  );
}

/** `application/x-www-form-urlencoded`. */
function encode(text: string): string {
  return Array.from(encoder.encode(text), (byte) => {
    const character = String.fromCharCode(byte);
    if (character === ' ') return '+';
    return /[A-Za-z0-9*\-._]/.test(character) ? character : percent(byte);
  }).join('');
}

function decode(text: string): string {
  return decoder.decode(percentDecode(text.replaceAll('+', ' ')));
}

/** `%XX` of a byte. */
export function percent(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

/** The bytes of a text in which `%XX` stands for a byte; a lone `%` stands for itself. */
export function percentDecode(text: string): Uint8Array {
  const bytes = encoder.encode(text);
  const out = new Uint8Array(bytes.length);
  let used = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const hex =
      bytes[at] === 0x25 ? String.fromCharCode(bytes[at + 1] ?? 0, bytes[at + 2] ?? 0) : '';
    if (/^[0-9A-Fa-f]{2}$/.test(hex)) {
      out[used] = Number.parseInt(hex, 16);
      at += 2;
    } else {
      out[used] = bytes[at] ?? 0;
    }
    used += 1;
  }
  return out.slice(0, used);
}
