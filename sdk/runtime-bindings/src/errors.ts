import { CAPABILITY_OF, type InterfaceName } from './generated/capabilities.js';
import type {
  ConfigErrorCode,
  HttpErrorCode,
  ProxyErrorCode,
  SecretErrorCode,
  StorageErrorCode,
  UserErrorCode,
} from './wit.js';

/**
 * An error that the host answered a call with. `code` is the case of the interface's own enum, so
 * `switch (error.code)` is checked by the compiler on each subclass. The stack starts where the
 * extension made the call.
 */
export abstract class HostError<Code extends string = string> extends Error {
  /** The WIT interface that refused, for example `secrets`. */
  abstract readonly interface: InterfaceName;
  readonly code: Code;

  constructor(code: Code, message: string) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

export class ConfigError extends HostError<ConfigErrorCode | 'missing'> {
  readonly interface = 'config';
  static readonly undeclared = 'denied';
}

export class SecretError extends HostError<SecretErrorCode> {
  readonly interface = 'secrets';
  static readonly undeclared = 'denied';
}

export class HttpError extends HostError<HttpErrorCode> {
  readonly interface = 'http';
  static readonly undeclared = 'not-allowed';
}

export class StorageError extends HostError<StorageErrorCode> {
  readonly interface = 'storage';
  static readonly undeclared = 'denied';
}

export class ProxyError extends HostError<ProxyErrorCode> {
  readonly interface = 'ui-proxy';
  static readonly undeclared = 'denied';
}

export class UserError extends HostError<UserErrorCode> {
  readonly interface = 'user';
  static readonly undeclared = 'not-allowed';
}

type ErrorClass<Code extends string> = new (code: Code, message: string) => HostError<Code>;

const ADVICE: Partial<Record<InterfaceName, Record<string, string>>> = {
  config: { denied: 'the install was not granted cap:config.read' },
  secrets: {
    missing:
      'no secret of that name is set for this install: alga secrets set, or "secrets" in alga.dev.json',
    denied: 'the install was not granted cap:secrets.get',
    expired: 'the secret material ran out of its lifetime during this call',
  },
  http: {
    'invalid-url': 'the URL, the method or a header is not valid',
    'not-allowed':
      'no egress rule of the install allows it, or the install was not granted cap:http.fetch',
    transport: 'the connection could not be made or broke',
    timeout: 'the call or the execution ran out of time',
    'too-large': 'the response is larger than the limit',
    limit: 'too many calls in this execution',
  },
  storage: {
    missing: 'there is no such record',
    conflict: 'the record changed, or exists already',
    denied: 'the install was not granted cap:storage.kv',
    invalid: 'the namespace, key, cursor, TTL or value is not acceptable',
    quota: 'the storage quota of the install is used up',
  },
  'ui-proxy': {
    'route-not-found': 'the host application has no such route',
    denied: 'the capability is missing or the user may not call it',
    'bad-request': 'the host application did not accept the request',
  },
  user: {
    'not-available': 'this call is not made on behalf of a user',
    'not-allowed': 'the install was not granted cap:user.read',
  },
};

/** The error case inside what a failed import throws, or undefined for anything else. */
function errorCase(thrown: unknown): string | undefined {
  if (typeof thrown === 'string') return thrown;
  if (typeof thrown !== 'object' || thrown === null || !('payload' in thrown)) return undefined;
  return typeof thrown.payload === 'string' ? thrown.payload : undefined;
}

/** Told of every host call before it is made. */
export type CallObserver = (operation: string, site: Error) => void;

let observer: CallObserver | undefined;

/** Sets who is told of host calls; a component has one instance per request, and one observer. */
export function observeCalls(next: CallObserver | undefined): void {
  observer = next;
}

/** Changes a function that authors call and that calls the host. */
export type CallWrapper = <F>(call: F) => F;

let wrapper: CallWrapper | undefined;

/** Sets what happens to the functions of the capabilities that are made from now on. */
export function wrapCalls(next: CallWrapper | undefined): void {
  wrapper = next;
}

/** The functions of each group, wrapped; what is no function stays as it is. */
export function wrapped<T extends object>(groups: T): T {
  const wrap = wrapper;
  if (wrap === undefined) return groups;
  const members = (group: unknown): unknown => {
    const entries = typeof group === 'object' && group !== null ? Object.entries(group) : [];
    if (entries.length === 0) return group;
    return Object.fromEntries(
      entries.map(([name, call]: [string, unknown]) => [
        name,
        typeof call === 'function' ? wrap(call) : call,
      ]),
    );
  };
  return Object.fromEntries(
    Object.entries(groups).map(([name, group]) => [name, members(group)]),
  ) as T;
}

/**
 * Calls an imported function and turns its error case into a typed error.
 *
 * @param site created by the facade before any `await`, so that its stack holds the author's line
 */
export function callHost<Api, Result, Code extends string>(
  api: Api | undefined,
  name: InterfaceName,
  operation: string,
  Failure: ErrorClass<Code> & { readonly undeclared: Code },
  site: Error,
  call: (api: Api) => Result,
): Result {
  if (api === undefined) {
    const capability = CAPABILITY_OF[name];
    const message =
      `${operation}: the extension does not declare ${capability}; ` +
      `add "${capability}" to "capabilities" in manifest.json and build again`;
    throw located(new Failure(Failure.undeclared, message), site);
  }
  observer?.(operation, site);
  try {
    return call(api);
  } catch (thrown) {
    const code = errorCase(thrown);
    if (code === undefined) throw thrown;
    const advice = ADVICE[name]?.[code];
    const message = `${operation}: ${code}${advice === undefined ? '' : ` (${advice})`}`;
    throw located(new Failure(code as Code, message), site);
  }
}

/** Gives `error` the stack of `site`, under its own name and message where the engine prints them. */
export function located<E extends Error>(error: E, site: Error): E {
  const frames = stackFrames(site);
  if (frames.length === 0) return error;
  const v8 = error.stack?.startsWith(error.name) === true || /^\s+at /m.test(error.stack ?? '');
  error.stack = v8 ? `${error.name}: ${error.message}\n${frames.join('\n')}` : frames.join('\n');
  return error;
}

/** Frames that are written to the log; a recursion without end has hundreds. */
const MAX_FRAMES = 40;

/**
 * The frames of an error in one notation for every engine, without generated glue and without the
 * constructors of the error's own class: where it was thrown comes first.
 */
export function describeFrames(error: Error): string[] {
  const constructors = constructorNames(error);
  const frames = stackFrames(error)
    .map((line) => {
      const gecko = /^(.*?)@(.*):(\d+):(\d+)$/.exec(line);
      // QuickJS writes an absolute path, and frames of built-in functions without a position.
      if (!gecko) return `    ${line.trim().replace('(/main.js:', '(main.js:')}`;
      const [, name = '', file = '', row = '', column = ''] = gecko;
      return `    at ${name === '' ? '<anonymous>' : name} (${file}:${row}:${column})`;
    })
    .filter((line) => !/\/initializer\.js:|\(native\)$/.test(line));
  const thrower = frames.findIndex(
    (line) => !constructors.has(/^ +at (\S+) /.exec(line)?.[1] ?? ''),
  );
  const kept = frames.slice(Math.max(0, thrower));
  if (kept.length <= MAX_FRAMES) return kept;
  return [...kept.slice(0, MAX_FRAMES), `    … ${kept.length - MAX_FRAMES} more`];
}

/** Names of the classes between the error's and the built-in ones. */
function constructorNames(error: Error): Set<string> {
  const names = new Set<string>();
  let made: unknown = error.constructor;
  while (typeof made === 'function' && made !== Error && made !== Function.prototype) {
    names.add(made.name);
    made = Object.getPrototypeOf(made) as unknown;
  }
  return names;
}

function stackFrames(error: Error): string[] {
  const lines = (error.stack ?? '').split('\n').filter((line) => line.trim() !== '');
  return lines.filter((line) => /^\s+at /.test(line) || /@.*:\d+:\d+$/.test(line));
}

/**
 * An error as text for the log: name, message and stack in one notation for every engine
 * (`    at function (main.js:line:column)`), followed by its causes. Frames of the component's
 * generated glue are left out; `alga logs` maps the others to the author's source.
 */
export function describeError(thrown: unknown, depth = 0): string {
  if (!(thrown instanceof Error)) {
    return `Thrown value: ${describeValue(thrown)} (no Error, so nothing says where it was thrown)`;
  }
  const head = `${thrown.name}: ${thrown.message}`;
  const frames = describeFrames(thrown);
  const cause =
    thrown.cause === undefined || depth >= 4
      ? ''
      : `\nCaused by: ${describeError(thrown.cause, depth + 1)}`;
  return [head, ...frames].join('\n') + cause;
}

function describeValue(value: unknown): string {
  if (typeof value === 'string') return value;
  try {
    const text = JSON.stringify(value) as string | undefined;
    return text ?? String(value);
  } catch {
    return String(value);
  }
}
