import { codeFrame } from './code-frame.js';
import type { SourceLocation } from './failure.js';
import { mapFrames, mapStack, type SourceMap } from './source-map.js';

/**
 * A log message as its author wrote it: the server keeps each message on one line, with its line
 * breaks as visible escapes.
 */
export function unfold(message: string): string {
  return message.replaceAll('\\x0a', '\n');
}

/** An error of an extension in the words and places of its author. */
export interface AuthorError {
  /** What was thrown, for example `TypeError: no luck`. */
  message: string;
  location?: SourceLocation;
  frame?: string;
  /** The whole log message, with every position mapped. */
  stack: string;
}

/**
 * Reads an unfolded log message that holds a stack trace of the bundle. Undefined for a message without one.
 * The place is the first frame in the author's own files; frames of installed packages stay in the
 * stack.
 */
export function authorError(message: string, map: SourceMap): AuthorError | undefined {
  const frames = mapFrames(message, map);
  if (frames.length === 0) return undefined;
  const [text = ''] = message.split(/\n {4}at /);
  const head = text.replace(/^Uncaught /, '');
  const stack = mapStack(message, map);
  const own = frames.find(({ author }) => author);
  if (own === undefined) return { message: head, stack };
  const { file, line, column } = own;
  const source = map.sourceOf(file);
  return {
    message: head,
    location: { file, line, column },
    ...(source === undefined ? {} : { frame: codeFrame(source, line, column) }),
    stack,
  };
}
