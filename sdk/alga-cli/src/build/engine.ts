import { join } from 'node:path';

import { ExitCode, Failure } from '../failure.js';
import { readJsonFile } from '../json-file.js';

/** The JavaScript engine inside a component. */
export type Engine = 'starlingmonkey' | 'quickjs';
/** What an author may ask for. */
export type EngineChoice = Engine | 'auto';

export const ENGINES: readonly EngineChoice[] = ['starlingmonkey', 'quickjs', 'auto'];
export const ENGINE_NAMES: Record<Engine, string> = {
  starlingmonkey: 'StarlingMonkey',
  quickjs: 'QuickJS',
};

/** Checks `--engine`. */
export function engineChoice(text: string): EngineChoice {
  const choice = ENGINES.find((name) => name === text);
  if (choice !== undefined) return choice;
  throw new Failure('build.unknown_engine', `There is no engine "${text}"`, {
    hint: `engines: ${ENGINES.join(', ')}`,
    exitCode: ExitCode.Usage,
  });
}

/**
 * The engine that a project asks for in package.json, so that `build`, `dev` and `publish` agree:
 *
 *     "alga": { "engine": "auto" }
 *
 * StarlingMonkey when it says nothing.
 */
export async function projectEngine(root: string): Promise<EngineChoice> {
  const file = join(root, 'package.json');
  const parsed = await readJsonFile({
    path: file,
    shown: 'package.json',
    code: 'build.bad_package_json',
    hint: 'npm cannot read it either: correct it there',
  });
  const { engine } =
    (parsed as { alga?: { engine?: unknown } | null } | null | undefined)?.alga ?? {};
  if (engine === undefined) return 'starlingmonkey';
  const choice = ENGINES.find((name) => name === engine);
  if (choice !== undefined) return choice;
  throw new Failure('build.unknown_engine', `There is no engine ${JSON.stringify(engine)}`, {
    location: { file },
    hint: `set "alga": { "engine": … } to one of: ${ENGINES.join(', ')}`,
  });
}
