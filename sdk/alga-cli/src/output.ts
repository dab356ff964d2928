import { stripVTControlCharacters } from 'node:util';

import { eventText, type Paint } from './event-text.js';
import type { AlgaEvent, Problem } from './events.js';
import type { Failure } from './failure.js';

/** Where a command writes; tests give streams of their own. */
export interface Streams {
  stdout: { write(text: string): unknown; isTTY?: boolean };
  stderr: { write(text: string): unknown; isTTY?: boolean };
}

/** How work is shown while it goes on. */
export interface Shown<T = unknown> {
  /** What its result is, in a few words, for the line that says that it is done. */
  note?: (result: T) => string;
  /** It is mostly over at once: nothing is said before a second has passed. */
  quick?: boolean;
}

/** Who shows that work goes on; `Output` does. */
export interface Waiting {
  during<T>(label: string, work: () => Promise<T>, shown?: Shown<T>): Promise<T>;
}

/** After this time people wonder whether anything goes on. */
const NOTICED_MS = 1000;
const REDRAW_MS = 100;
const CLEAR_LINE = '\r\u001b[2K';

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/**
 * What a command says. People read lines: results on stdout, everything else on stderr. With
 * `--json` stdout carries exactly one document, the result or the error; of a command that goes on,
 * one event a line. Stderr stays quiet then.
 */
export class Output {
  readonly json: boolean;
  readonly #streams: Streams;
  readonly #warnings: Problem[] = [];
  readonly #paint: Paint = (colour, text) => this.paint(colour, text);
  /** The command goes on: with `--json` it says everything as events. */
  #goesOn = false;
  /** Work that is shown. */
  #working = false;
  /** The cursor stands behind a spinner. */
  #spinning = false;

  constructor(streams: Streams, json: boolean) {
    this.#streams = streams;
    this.json = json;
  }

  get interactive(): boolean {
    return !this.json && this.#streams.stderr.isTTY === true;
  }

  /** From now on there are events, and no document at the end. */
  goOn(): void {
    this.#goesOn = true;
  }

  /** A line of the result. */
  print(line = ''): void {
    if (this.json) this.#noteEvent(line);
    else this.#write('stdout', line);
  }

  /** A line about what is going on. */
  note(line: string): void {
    if (this.json) this.#noteEvent(line);
    else this.#write('stderr', line);
  }

  /** Something that should be mended. A document holds it in its `warnings`. */
  warn(warning: Problem): void {
    if (!this.#goesOn) this.#warnings.push(warning);
    this.#show({ event: 'warning', ...warning });
  }

  /** The result for scripts; printed only with `--json`. */
  result(value: Record<string, unknown>): void {
    if (!this.json) return;
    this.#writeJson({ ok: true, ...value, ...this.#warned() });
  }

  /** Says something, to people in words and to scripts as a line of JSON. Only after `goOn()`. */
  event(event: AlgaEvent): void {
    if (!this.json) this.#showText(event);
    else this.#writeJson(event);
  }

  /** The error that the command ends with. */
  fail(failure: Failure): void {
    const error = described(failure);
    if (this.json && !this.#goesOn) this.#writeJson({ ok: false, error, ...this.#warned() });
    else this.event({ event: 'error', ok: false, error, goes_on: false });
  }

  /**
   * An error that the command goes on after. A document tells of it in a form of the command's own.
   *
   * @param running version of the extension that goes on running
   */
  problem(error: Problem, running?: string): void {
    const rest = running === undefined ? {} : { running };
    this.#show({ event: 'error', ok: false, error: { ...error }, goes_on: true, ...rest });
  }

  /**
   * Shows that a piece of work goes on, until it has ended in one way or the other; its error is for
   * the caller. A terminal shows a spinner; elsewhere there is a line when it takes long and one when
   * it is done; a stream of events has both. Work inside of work that is shown is not shown again.
   */
  async during<T>(what: string, work: () => Promise<T>, shown: Shown<T> = {}): Promise<T> {
    if ((this.json && !this.#goesOn) || this.#working) return work();
    const started = performance.now();
    const took = () => performance.now() - started;
    const quick = shown.quick === true;
    this.#working = true;
    const stop = this.json ? this.#announce(what, quick) : this.#draw(what, took, quick);
    let ended: { state: 'done' | 'failed'; note?: string } = { state: 'failed' };
    try {
      const result = await work();
      ended = { state: 'done' };
      if (shown.note !== undefined) ended.note = shown.note(result);
      return result;
    } finally {
      stop();
      this.#working = false;
      this.#clearSpinner();
      const milliseconds = Math.round(took());
      const silent = quick && milliseconds < NOTICED_MS;
      if (!silent) this.#show({ event: 'progress', what, ...ended, milliseconds });
    }
  }

  /** Says that work has begun; quick work only when a second has passed. */
  #announce(what: string, quick: boolean): () => void {
    const say = () => this.event({ event: 'progress', what, state: 'started' });
    if (!quick) say();
    const timer = quick ? setTimeout(say, NOTICED_MS) : undefined;
    return () => clearTimeout(timer);
  }

  /** Draws until the function that it returns is called; quick work only when a second has passed. */
  #draw(label: string, took: () => number, quick: boolean): () => void {
    const after = quick ? NOTICED_MS : 0;
    if (!this.interactive) {
      const timer = setTimeout(() => this.note(`… ${label}`), NOTICED_MS);
      return () => clearTimeout(timer);
    }
    let frame = 0;
    const draw = () => {
      if (took() < after) return;
      frame += 1;
      const seconds = (took() / 1000).toFixed(1);
      const spinner = SPINNER[frame % SPINNER.length] ?? '';
      this.#streams.stderr.write(`\r${spinner} ${label} ${seconds} s`);
      this.#spinning = true;
    };
    // Work that blocks this process is announced all the same.
    draw();
    const timer = setInterval(draw, REDRAW_MS);
    return () => clearInterval(timer);
  }

  /** An event of a command that goes on, or the same text for people; a document holds it elsewhere. */
  #show(event: AlgaEvent): void {
    if (this.#goesOn || !this.json) this.event(event);
  }

  #showText(event: AlgaEvent): void {
    const { stream, lines } = eventText(event, this.#paint);
    for (const line of lines) this.#write(stream, line);
  }

  /** What people are told and no event of its own holds. */
  #noteEvent(line: string): void {
    const message = stripVTControlCharacters(line).trim();
    if (this.#goesOn && message !== '') this.event({ event: 'note', message });
  }

  #warned(): { warnings?: Problem[] } {
    return this.#warnings.length === 0 ? {} : { warnings: this.#warnings };
  }

  #write(stream: 'stdout' | 'stderr', line: string): void {
    this.#clearSpinner();
    this.#streams[stream].write(`${line}\n`);
  }

  #writeJson(value: object): void {
    this.#streams.stdout.write(`${JSON.stringify(value)}\n`);
  }

  #clearSpinner(): void {
    if (this.#spinning) this.#streams.stderr.write(CLEAR_LINE);
    this.#spinning = false;
  }

  /** A table with a header row, columns padded to their widest cell. */
  table(header: readonly string[], rows: readonly (readonly string[])[]): void {
    const all = [header, ...rows];
    const widths = header.map((_, column) =>
      Math.max(...all.map((row) => (row[column] ?? '').length)),
    );
    for (const row of all) {
      this.print(
        row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd(),
      );
    }
  }

  paint(colour: string, text: string): string {
    const plain = this.#streams.stderr.isTTY !== true || process.env['NO_COLOR'] !== undefined;
    return plain ? text : `\u001b[${colour}m${text}\u001b[0m`;
  }
}

/** A failure as `--json` shows it. */
export function described(failure: Failure): Problem & Record<string, unknown> {
  const { code, message, hint, location, frame, details } = failure;
  return { code, message, hint, location, frame, ...details };
}

export function formatBytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const kib = count / 1024;
  return kib < 1024 ? `${kib.toFixed(1)} KiB` : `${(kib / 1024).toFixed(2)} MiB`;
}
