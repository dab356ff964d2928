import { unfold } from './author-error.js';
import { formatUsage } from './dev/usage.js';
import type {
  AlgaEvent,
  CallEvent,
  ErrorEvent,
  LogEvent,
  Problem,
  ProgressEvent,
} from './events.js';
import { formatLocation } from './failure.js';

/** Puts a text into a colour, given as the number of an SGR sequence, or leaves it as it is. */
export type Paint = (colour: string, text: string) => string;

/** Text for people: lines of the result, or lines about what is going on. */
export interface EventText {
  stream: 'stdout' | 'stderr';
  lines: string[];
}

/** What people read of an event. It is made of the event alone, so that scripts know as much. */
export function eventText(event: AlgaEvent, paint: Paint): EventText {
  switch (event.event) {
    case 'progress':
      return { stream: 'stderr', lines: progress(event, paint) };
    case 'warning':
      return { stream: 'stderr', lines: problem(event, paint('33', 'warning'), paint) };
    case 'error':
      return { stream: 'stderr', lines: failed(event, paint) };
    case 'changed':
      return { stream: 'stderr', lines: ['', `${event.files.join(', ')} changed`] };
    case 'ready': {
      const { url, install, milliseconds, host_page: page } = event;
      const host = page === undefined ? [] : [`Page in a host: ${page}`];
      const lines = [`Ready at ${url} (${install.version}, ${milliseconds} ms)`, ...host];
      return { stream: 'stdout', lines };
    }
    case 'call':
      return { stream: 'stdout', lines: call(event, paint) };
    case 'log':
      return { stream: 'stdout', lines: logLine(event, paint) };
    case 'reconnecting':
      return { stream: 'stderr', lines: [`log stream: ${event.message}`] };
    case 'note':
      return { stream: 'stderr', lines: [event.message] };
  }
}

/** `✔ Bundling (0.4 s)  12.1 KiB`; work that has just begun is shown by whoever draws it. */
function progress({ what, state, milliseconds = 0, note }: ProgressEvent, paint: Paint): string[] {
  if (state === 'started') return [];
  const mark = state === 'done' ? paint('32', '✔') : paint('31', '✘');
  const result = note === undefined ? '' : `  ${note}`;
  return [`${mark} ${what} (${(milliseconds / 1000).toFixed(1)} s)${result}`];
}

/** `label src/index.ts:3:1 message [code]`, the code frame, and what to do. */
function problem(
  { code, message, hint, location, frame }: Problem,
  label: string,
  paint: Paint,
): string[] {
  const where = location === undefined ? '' : ` ${formatLocation(location)}`;
  return [
    `${label}${where} ${message} [${code}]`,
    ...(frame === undefined ? [] : ['', ...frame.split('\n'), '']),
    ...advice(hint, paint),
  ];
}

function advice(hint: string | undefined, paint: Paint): string[] {
  return hint === undefined ? [] : [`${paint('36', '  → ')}${hint}`];
}

function failed({ error, running }: ErrorEvent, paint: Paint): string[] {
  const goesOn = running === undefined ? [] : [`The version before (${running}) goes on running.`];
  return [...problem(error, paint('31', 'error'), paint), ...goesOn];
}

/** What came out, how long it took, what of its limits it used; and why it was refused or ended. */
function call(event: CallEvent, paint: Paint): string[] {
  const { method, path, status, milliseconds, refusal, usage = [], explanation, hint } = event;
  const { end_class: end = 'ok' } = event;
  const head = `${method} ${path} → ${status} in ${milliseconds} ms`;
  if (refusal !== undefined) {
    const why = `${head}  the gateway refused it: ${refusal.message} [${refusal.code}]`;
    return [why, ...advice(hint, paint)];
  }
  const parts = [head, ...(end === 'ok' ? [] : [end]), formatUsage(usage)];
  const ended = explanation === undefined ? [] : [`${paint('31', 'error')} ${explanation.message}`];
  const place =
    explanation?.location === undefined || explanation.frame === undefined
      ? []
      : [`  at ${formatLocation(explanation.location)}`, explanation.frame];
  return [parts.join('  ').trimEnd(), ...ended, ...place, ...advice(hint, paint)];
}

const COLOURS: Record<string, string> = { debug: '90', info: '36', warn: '33', error: '31' };
/** What the runtime writes before each call of the host. */
const HOST_CALL = 'host call ';

/** A line of the log with its stack trace mapped to the author's files, and a frame for an error. */
export function logLine(line: Omit<LogEvent, 'event'>, paint: Paint): string[] {
  const { at, level, author_error: mapped, truncated } = line;
  const message = unfold(line.message);
  const label = paint(COLOURS[level] ?? '0', level.padEnd(5));
  const text = message.startsWith(HOST_CALL) ? hostCall(message, line) : (mapped?.stack ?? message);
  const cut = truncated === true ? ' …' : '';
  const head = `${formatTime(at)} ${label} ${indent(sanitize(text))}${cut}`;
  if (level !== 'error' || mapped?.frame === undefined || mapped.location === undefined)
    return [head];
  return [head, `  at ${formatLocation(mapped.location)}`, mapped.frame];
}

/** A host call as one line: what was called, and from where. */
function hostCall(message: string, { author_error: mapped }: Omit<LogEvent, 'event'>): string {
  const [what = ''] = message.split('\n');
  return mapped?.location === undefined ? what : `${what}  (${formatLocation(mapped.location)})`;
}

/** Continued lines stand apart, so that no message can look like a line of the log. */
function indent(text: string): string {
  return text.replace(/\n(?! {4})/g, '\n    ');
}

function formatTime(at: string | number): string {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? String(at) : time.toISOString();
}

/** An extension's output must not command the reader's terminal. */
function sanitize(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what this removes
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}
