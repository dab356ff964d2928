import { codeFrame } from '../code-frame.js';
import { Failure } from '../failure.js';
import { mapFrames, SourceMap } from '../source-map.js';
import type { Bundle } from './bundle.js';

const MOVE_IT =
  'code outside the handler runs while the component is built, where no capability works: move it into the handler';

/** StarlingMonkey's way to say it, which names no line, and the runtime library's on QuickJS. */
const DRAWS_RANDOM =
  /unknown imported function: 'wasi:random|no random numbers while the component is built/;

/** The runtime library's words for a module that exports nothing which could answer. */
const NO_HANDLER = 'The entry module must have a default export';

/**
 * What went wrong while the module's top level ran, at the author's line where there is one.
 *
 * @param output what the engine said, of either engine
 * @param entry the author's module, as people name it
 */
export function componentizeFailure(output: string, bundle: Bundle, entry: string): Failure {
  const details = { output };
  if (output.includes(NO_HANDLER)) {
    return new Failure('build.no_handler', `${entry} has no default export that is a handler`, {
      hint: 'end it with, for example: export default handler(async () => json({ ok: true }));',
      location: { file: entry },
      details,
    });
  }
  const random = DRAWS_RANDOM.test(output);
  const code = random ? 'build.random_at_build' : 'build.componentize_failed';
  const text = random ? 'Random numbers are drawn outside the handler' : summarize(output);
  const map = new SourceMap(bundle.map);
  const frame = mapFrames(output, map).find((found) => found.author);
  if (frame === undefined) return new Failure(code, text, { hint: MOVE_IT, details });
  const { file, line, column } = frame;
  const source = map.sourceOf(file);
  return new Failure(code, text, {
    hint: MOVE_IT,
    location: { file, line, column },
    ...(source === undefined ? {} : { frame: codeFrame(source, line, column) }),
    details,
  });
}

/** A module whose top level did not come to an end. */
export function endlessTopLevel(seconds: number): Failure {
  return new Failure(
    'build.top_level_timeout',
    `Code outside the handler did not end within ${seconds} seconds`,
    { hint: `look for a loop that does not end; ${MOVE_IT}` },
  );
}

/** What was thrown, out of what the engines write around it. */
function summarize(output: string): string {
  const lines = output.split('\n').map((line) =>
    line
      .trim()
      .replace(/^.*Failed to finish JavaScript module evaluation: /, '')
      .replace(/^main\.js:\d+:\d+ /, ''),
  );
  const rejected = /^Promise rejected but never handled: (.*)$/;
  const thrown =
    lines.find((line) => /^(?:Uncaught )?[A-Za-z]*Error: (?!the `)/.test(line)) ??
    lines.map((line) => rejected.exec(line)?.[1]).find((value) => value !== undefined) ??
    lines.find((line) => /exception/i.test(line) && !line.startsWith('Exception while'));
  return `Code outside the handler failed: ${thrown ?? 'the engine gave up on it'}`;
}
