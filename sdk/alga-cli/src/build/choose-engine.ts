import { Failure } from '../failure.js';
import { SourceMap } from '../source-map.js';
import { bundle } from './bundle.js';
import { ENGINE_NAMES, type Engine, type EngineChoice } from './engine.js';
import { findUses, marks, onlyStarlingMonkey, type Use } from './lacking.js';
import { entryModule } from './world.js';

/** An engine, and how it was found. */
export interface Choice {
  engine: Engine;
  asked: EngineChoice;
  /** What the sources use that QuickJS lacks; looked for with `auto` and with `quickjs`. */
  uses: Use[];
}

/**
 * Decides which engine the component gets. `auto` bundles the project once with marks in place of
 * what QuickJS lacks: QuickJS when none is left after unused code is gone, StarlingMonkey otherwise.
 */
export async function chooseEngine(
  asked: EngineChoice,
  root: string,
  entry: string,
  capabilities: string[],
): Promise<Choice> {
  if (asked === 'starlingmonkey') return { engine: asked, asked, uses: [] };
  const source = entryModule(entry, capabilities);
  const marked = await bundle(root, source, 'starlingmonkey', marks());
  const uses = findUses(marked, new SourceMap(marked.map)).filter(onlyStarlingMonkey);
  if (asked === 'quickjs') return { engine: asked, asked, uses };
  if (uses.length > 0) return { engine: 'starlingmonkey', asked, uses };
  try {
    await bundle(root, entryModule(entry, capabilities, 'quickjs'), 'quickjs');
  } catch (error) {
    // What bundles for one engine and not for the other is a use as well: top-level await.
    if (!(error instanceof Failure)) throw error;
    const { file = entry, line = 1 } = error.location ?? {};
    return { engine: 'starlingmonkey', asked, uses: [{ what: error.message, file, line }] };
  }
  return { engine: 'quickjs', asked, uses };
}

/** Most uses that are named; the others are counted. */
const SHOWN = 3;

/** Why, in one line. */
export function describeChoice({ engine, asked, uses }: Choice): string {
  const name = ENGINE_NAMES[engine];
  const shown = uses.slice(0, SHOWN).map(({ what, file, line }) => `${what} (${file}:${line})`);
  const more = uses.length > SHOWN ? `, and ${uses.length - SHOWN} more` : '';
  if (asked === 'auto') {
    return uses.length === 0
      ? `${name}: the sources use nothing that it lacks`
      : `${name}: QuickJS lacks, or has only in part, ${shown.join(', ')}${more}`;
  }
  return name;
}
