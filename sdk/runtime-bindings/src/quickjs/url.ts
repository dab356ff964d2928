import { percent, percentDecode, SearchParams } from './search-params.js';
import { Utf8Decoder, Utf8Encoder } from './text.js';

const encoder = new Utf8Encoder();

const DEFAULT_PORT: Record<string, string> = { 'http:': '80', 'https:': '443' };

interface Parts {
  protocol: string;
  username: string;
  password: string;
  hostname: string;
  port: string;
  pathname: string;
  search: string;
  hash: string;
}

/**
 * URLs of `http` and `https` as the URL standard parses them, for host names in ASCII and IPv4
 * addresses in four decimal parts. Everything else is refused with a TypeError that says so; the
 * host judges the address of every call again.
 */
export class HttpUrl {
  #parts: Parts;
  #params: SearchParams | undefined;

  constructor(input: unknown, base?: unknown) {
    const parent = base === undefined ? undefined : new HttpUrl(base).#parts;
    this.#parts = parse(String(input), parent);
  }

  static canParse(input: string, base?: string): boolean {
    return HttpUrl.parse(input, base) !== null;
  }

  static parse(input: string, base?: string): HttpUrl | null {
    try {
      return new HttpUrl(input, base);
    } catch {
      return null;
    }
  }

  get href(): string {
    const { protocol, username, password, pathname, search, hash } = this.#parts;
    const secret = password === '' ? '' : `:${password}`;
    const user = username === '' && password === '' ? '' : `${username}${secret}@`;
    return `${protocol}//${user}${this.host}${pathname}${search}${hash}`;
  }

  get origin(): string {
    return `${this.#parts.protocol}//${this.host}`;
  }

  get protocol(): string {
    return this.#parts.protocol;
  }

  get username(): string {
    return this.#parts.username;
  }

  get password(): string {
    return this.#parts.password;
  }

  get host(): string {
    const { hostname, port } = this.#parts;
    return port === '' ? hostname : `${hostname}:${port}`;
  }

  get hostname(): string {
    return this.#parts.hostname;
  }

  get port(): string {
    return this.#parts.port;
  }

  get pathname(): string {
    return this.#parts.pathname;
  }

  set pathname(value: string) {
    this.#parts.pathname = pathOf(value, []);
  }

  get search(): string {
    return this.#parts.search;
  }

  set search(value: string) {
    const query = value.replace(/^\?/, '');
    this.#parts.search = query === '' ? '' : `?${escape(query, QUERY)}`;
    this.#params = undefined;
  }

  get hash(): string {
    return this.#parts.hash;
  }

  set hash(value: string) {
    const fragment = value.replace(/^#/, '');
    this.#parts.hash = fragment === '' ? '' : `#${escape(fragment, FRAGMENT)}`;
  }

  get searchParams(): SearchParams {
    this.#params ??= new SearchParams(this.#parts.search, (query) => {
      this.#parts.search = query === '' ? '' : `?${query}`;
    });
    return this.#params;
  }

  toString(): string {
    return this.href;
  }

  toJSON(): string {
    return this.href;
  }

  get [Symbol.toStringTag](): string {
    return 'URL';
  }
}

// What the standard escapes in each place, beyond control characters and non-ASCII.
const FRAGMENT = ' "<>`';
const QUERY = ' "#<>\'';
const PATH = ' "#<>?`{}^';
const USER = `${PATH}/:;=@[\\]|`;

function escape(text: string, characters: string): string {
  return Array.from(encoder.encode(text), (byte) => {
    const character = String.fromCharCode(byte);
    return byte <= 0x1f || byte >= 0x7f || characters.includes(character)
      ? percent(byte)
      : character;
  }).join('');
}

function refuse(input: string, why: string): never {
  throw new TypeError(`Invalid URL "${input}": ${why}`);
}

function parse(given: string, base: Parts | undefined): Parts {
  const input = given.replace(/^[\0-\x20]+|[\0-\x20]+$/g, '').replace(/[\t\n\r]/g, '');
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(input);
  let rest = input;
  let protocol = base?.protocol;
  let absolute = false;
  if (scheme !== null) {
    protocol = `${(scheme[1] ?? '').toLowerCase()}:`;
    if (!(protocol in DEFAULT_PORT)) refuse(given, 'QuickJS builds know http and https only');
    rest = input.slice(scheme[0].length);
    absolute = protocol !== base?.protocol || /^[/\\]{2}/.test(rest);
  }
  if (protocol === undefined) refuse(given, 'it is relative and there is no base');

  let hash = '';
  const mark = rest.indexOf('#');
  if (mark >= 0) {
    const fragment = rest.slice(mark + 1);
    hash = `#${escape(fragment, FRAGMENT)}`;
    rest = rest.slice(0, mark);
  }
  let query: string | undefined;
  const question = rest.indexOf('?');
  if (question >= 0) {
    query = escape(rest.slice(question + 1), QUERY);
    rest = rest.slice(0, question);
  }
  const search = query === undefined || query === '' ? '' : `?${query}`;

  if (absolute || /^[/\\]{2}/.test(rest)) {
    const [, authority = '', path = ''] = /^[/\\]*([^/\\]*)(.*)$/s.exec(rest) ?? [];
    const parts = authorityOf(given, protocol, authority);
    return { protocol, ...parts, pathname: pathOf(path, []), search, hash };
  }
  if (base === undefined) refuse(given, 'it is relative and there is no base');
  if (rest === '') return { ...base, search: query === undefined ? base.search : search, hash };
  if (/^[/\\]/.test(rest)) return { ...base, pathname: pathOf(rest, []), search, hash };
  const folder = base.pathname.split('/').slice(1, -1);
  return { ...base, pathname: pathOf(rest, folder), search, hash };
}

function authorityOf(
  given: string,
  protocol: string,
  authority: string,
): Pick<Parts, 'username' | 'password' | 'hostname' | 'port'> {
  const at = authority.lastIndexOf('@');
  const [, user = '', secret = ''] =
    /^([^:]*):?(.*)$/s.exec(authority.slice(0, Math.max(0, at))) ?? [];
  const place = authority.slice(at + 1);
  const [, name = '', number = ''] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(place) ?? [];
  if (name === '' || !/^\d*$/.test(number)) refuse(given, 'the host or the port is not valid');
  const port = number === '' ? '' : String(Number(number));
  if (Number(port) > 65_535) refuse(given, 'the port is above 65535');
  return {
    username: escape(user, USER),
    password: escape(secret, USER),
    hostname: hostOf(given, name),
    port: port === DEFAULT_PORT[protocol] ? '' : port,
  };
}

function hostOf(given: string, name: string): string {
  if (name.startsWith('[')) return refuse(given, 'QuickJS builds take no IPv6 address');
  let host: string;
  try {
    host = new Utf8Decoder('utf-8', { fatal: true }).decode(percentDecode(name)).toLowerCase();
  } catch {
    return refuse(given, 'the host is not UTF-8');
  }
  if (/[^\x21-\x7e]/.test(host)) refuse(given, 'QuickJS builds take host names in ASCII only');
  if (/[#%/:<>?@[\\\]^|]/.test(host)) refuse(given, 'the host has a forbidden character');
  if (host.split('.').some((label) => label.startsWith('xn--'))) {
    refuse(given, 'QuickJS builds take no internationalised host name');
  }
  const last = host.replace(/\.$/, '').split('.').at(-1) ?? '';
  if (/^(\d+|0x[0-9a-f]*)$/.test(last) && !isPlainIpv4(host)) {
    refuse(given, 'QuickJS builds take IPv4 addresses in four decimal parts only');
  }
  return host;
}

function isPlainIpv4(host: string): boolean {
  const parts = host.split('.');
  return (
    parts.length === 4 &&
    parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)
  );
}

/** A path without `.` and `..`, below `folder`. */
function pathOf(text: string, folder: readonly string[]): string {
  const kept = [...folder];
  const segments = text.replaceAll('\\', '/').replace(/^\//, '').split('/');
  segments.forEach((segment, index) => {
    const last = index === segments.length - 1;
    const plain = segment.replaceAll(/%2e/gi, '.');
    if (plain === '..') kept.pop();
    if (plain === '.' || plain === '..') {
      if (last) kept.push('');
    } else {
      kept.push(escape(segment, PATH));
    }
  });
  return `/${kept.join('/')}`;
}
