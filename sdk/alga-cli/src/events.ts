import type { AuthorError } from './author-error.js';
import type { Usage } from './dev/usage.js';
import type { SourceLocation } from './failure.js';
import type { GatewayRefusal } from './server/gateway-refusal.js';
import type { Install, LogLine } from './server/types.js';

/** What is wrong or may be, in the form in which `--json` shows it. */
export interface Problem {
  /** Stable name `module.snake_reason`; the message may change. */
  code: string;
  message: string;
  hint?: string | undefined;
  location?: SourceLocation | undefined;
  frame?: string | undefined;
}

/** Work that takes a while. */
export interface ProgressEvent {
  event: 'progress';
  what: string;
  state: 'started' | 'done' | 'failed';
  milliseconds?: number;
  note?: string;
}

export interface WarningEvent extends Problem {
  event: 'warning';
}

/** Something failed; the command goes on where `goes_on` says so. */
export interface ErrorEvent {
  event: 'error';
  ok: false;
  error: Problem & Record<string, unknown>;
  goes_on: boolean;
  running?: string;
}

export interface ChangedEvent {
  event: 'changed';
  files: string[];
}

export interface ReadyEvent {
  event: 'ready';
  url: string;
  install: Install;
  milliseconds: number;
  host_page?: string;
}

/** A call of the extension through the development address. */
export interface CallEvent {
  event: 'call';
  method: string;
  path: string;
  status: number;
  milliseconds: number;
  request_id?: string | undefined;
  refusal?: GatewayRefusal;
  end_class?: string | undefined;
  code?: string | null | undefined;
  metrics?: Record<string, unknown> | null | undefined;
  usage?: Usage[];
  explanation?: AuthorError;
  hint?: string | undefined;
}

export interface LogEvent extends LogLine {
  event: 'log';
  author_error?: AuthorError;
}

export interface ReconnectingEvent {
  event: 'reconnecting';
  message: string;
}

export interface NoteEvent {
  event: 'note';
  message: string;
}

/**
 * What a command that goes on (`alga dev`, `alga logs --follow`) has to say. People read each event
 * as text (see event-text.ts), scripts read it as a line of JSON: neither sees what the other does
 * not.
 */
export type AlgaEvent =
  | ProgressEvent
  | WarningEvent
  | ErrorEvent
  | ChangedEvent
  | ReadyEvent
  | CallEvent
  | LogEvent
  | ReconnectingEvent
  | NoteEvent;

export type EventName = AlgaEvent['event'];
type EventOf<Name extends EventName> = Extract<AlgaEvent, { event: Name }>;

/** An event's meaning and that of each of its members; a member without words does not compile. */
type Explained<Name extends EventName> = {
  meaning: string;
  members: Record<Exclude<keyof EventOf<Name> & string, 'event'>, string>;
};

const PROBLEM = {
  code: 'stable name',
  message: 'what is wrong',
  hint: 'what to do about it',
  location: '`{file, line, column}` in the project',
  frame: 'the lines around the place',
};

/** Documentation of the events; the CLI reference is generated from it. */
export const EVENT_REFERENCE: { [Name in EventName]: Explained<Name> } = {
  progress: {
    meaning: 'a piece of work that takes a while',
    members: {
      what: 'the work',
      state: '`started`, `done` or `failed`; why it failed is an `error`',
      milliseconds: 'how long it took, once it has ended',
      note: 'its result in a few words',
    },
  },
  warning: { meaning: 'something that should be mended; the command goes on', members: PROBLEM },
  error: {
    meaning: 'something failed',
    members: {
      ok: '`false`, as in the document of every command that fails',
      error: '`{code, message, hint, location, frame, …}`, as in that document',
      goes_on: '`false` in the last line of a command that ends with it',
      running: 'version of the extension that goes on running, after a build that failed',
    },
  },
  changed: {
    meaning: 'files of the project changed; a build follows',
    members: { files: 'their paths in the project' },
  },
  ready: {
    meaning: 'the extension is built, installed and can be called',
    members: {
      url: 'the development address',
      install: 'the install, as the control plane shows it',
      milliseconds: 'from the first step of the build until now',
      host_page: "address of the extension's page in a host, where it has a page",
    },
  },
  call: {
    meaning: 'a call through the development address',
    members: {
      method: 'its method',
      path: 'its path, with the query',
      status: 'status of the answer',
      milliseconds: 'until the answer was complete',
      request_id: 'id of the request, as in log lines',
      refusal: '`{code, message}` when the gateway refused it and the extension never ran',
      end_class: 'how the execution ended: `ok`, `cpu_limit`, …',
      code: 'stable name of what ended it',
      metrics: 'what the execution used, as it is recorded',
      usage: 'list of `{name, used, limit}`, for people',
      explanation: '`{message, stack, location, frame}` of an execution that the host ended',
      hint: 'what to do about it',
    },
  },
  log: {
    meaning: 'a line of the log of the extension',
    members: {
      id: 'id of the line',
      at: 'when',
      level: '`debug`, `info`, `warn` or `error`',
      stream: 'where it was written',
      message: 'its text; a line break is `\\x0a`',
      tenant: 'whose execution',
      extension: 'id of the extension',
      install: 'id of the install',
      version: 'version of the extension',
      request_id: 'id of the request',
      truncated: 'whether the text was cut',
      author_error: "`{message, stack, location, frame}` in the author's own files",
    },
  },
  reconnecting: {
    meaning: 'the stream of log lines broke and is taken up again',
    members: { message: 'why it broke' },
  },
  note: { meaning: 'anything else that people are told', members: { message: 'the text' } },
};
