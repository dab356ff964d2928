import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

import { checkComponent, type ComponentFinding } from '../component/check.js';
import { contractFile, PACKAGE_ROOT } from '../contracts.js';
import { Failure } from '../failure.js';
import { makeFolder } from '../make-folder.js';
import { declaredCapabilities } from '../manifest/manifest.js';
import { formatBytes, type Output } from '../output.js';
import type { Project } from '../project/project.js';
import { bundle, type Bundle } from './bundle.js';
import { ComponentCache } from './cache.js';
import { Componentizer } from './componentize.js';
import { chooseEngine, type Choice } from './choose-engine.js';
import { projectEngine, type Engine, type EngineChoice } from './engine.js';
import { buildLanguage, languageOf } from './languages.js';
import { entryModule, writeWorld } from './world.js';
import { writeFile } from '../write-file.js';

/** A finding about components from JavaScript; others may import no clock because they read none. */
const FROZEN = 'component.frozen_clock_and_random';

export interface BuildResult {
  component: string;
  componentBytes: number;
  bundleBytes: number;
  /** Milliseconds of each step; a component that was up to date took none. */
  timings: { bundle: number; componentize: number };
  upToDate: boolean;
  /** The JavaScript engine inside, and why; undefined for other languages. */
  engine?: Choice;
  findings: ComponentFinding[];
  /** Source files, relative to the project. */
  inputs: string[];
}

/**
 * Builds `dist/main.wasm` and `dist/main.js.map` from a TypeScript or JavaScript project.
 *
 * @param componentizer kept by callers that build again and again; one is made for this build
 *   otherwise
 * @param asked the engine; what package.json says otherwise
 */
export async function buildProject(
  project: Project,
  output: Output,
  componentizer?: Componentizer,
  asked?: EngineChoice,
): Promise<BuildResult> {
  const { entry } = project;
  const capabilities = declaredCapabilities(project.manifest);
  await makeFolder(dirname(project.component));
  await makeFolder(project.work);
  if (entry === undefined) {
    if (asked !== undefined) throw noEngine(project);
    return buildOtherLanguage(project, await writeWorld(project.work, capabilities), output);
  }

  const started = performance.now();
  const { chosen, wit, bundled } = await output.during(
    'Bundling',
    () => bundleProject(project, entry, capabilities, asked),
    { note: (made) => formatBytes(made.bundled.code.length) },
  );
  const { engine } = chosen;
  const bundleTime = performance.now() - started;

  const key = await cacheKey(bundled.code, capabilities, engine);
  const upToDate = await isUpToDate(project, key);
  let componentTime = 0;
  if (!upToDate) {
    const before = performance.now();
    const shownEntry = relative(project.root, entry);
    const make = async () => {
      const cache = new ComponentCache();
      const made =
        (await cache.get(key)) ??
        (await componentizeOnce(bundled, wit, engine, shownEntry, componentizer));
      await cache.put(key, made);
      return made;
    };
    const component = await output.during('Building the component', make, {
      note: (made) => formatBytes(made.length),
    });
    componentTime = performance.now() - before;
    await replaceFile(project.component, component);
  }
  await replaceFile(project.sourceMap, bundled.map);
  await writeFile(join(project.work, 'built.json'), JSON.stringify({ key }));

  const bytes = await readFile(project.component);
  return {
    component: project.component,
    componentBytes: bytes.length,
    bundleBytes: bundled.code.length,
    timings: { bundle: Math.round(bundleTime), componentize: Math.round(componentTime) },
    upToDate,
    engine: chosen,
    findings: checkComponent(bytes, project.manifest),
    inputs: bundled.inputs,
  };
}

/** Everything before the component: which engine, its world, and the author's code in one module. */
async function bundleProject(
  project: Project,
  entry: string,
  capabilities: string[],
  asked: EngineChoice | undefined,
): Promise<{ chosen: Choice; wit: string; bundled: Bundle }> {
  const wanted = asked ?? (await projectEngine(project.root));
  const chosen = await chooseEngine(wanted, project.root, entry, capabilities).catch(explain);
  const wit = await writeWorld(project.work, capabilities, chosen.engine);
  const source = entryModule(entry, capabilities, chosen.engine);
  await writeFile(join(project.work, 'entry.js'), source);
  const bundled = await bundle(project.root, source, chosen.engine).catch(explain);
  return { chosen, wit, bundled };
}

async function componentizeOnce(
  bundled: Bundle,
  wit: string,
  engine: Engine,
  entry: string,
  given: Componentizer | undefined,
): Promise<Uint8Array> {
  const componentizer = given ?? new Componentizer();
  try {
    return await componentizer.componentize(bundled, wit, engine, entry);
  } finally {
    if (given === undefined) componentizer.close();
  }
}

/** Their own tools know what is up to date; there is no source map. */
async function buildOtherLanguage(
  project: Project,
  wit: string,
  output: Output,
): Promise<BuildResult> {
  const language = languageOf(project);
  if (language === undefined) {
    throw new Failure('build.no_entry', 'The project has no entry module', {
      hint: 'create src/index.ts with: export default handler(async () => json({ ok: true }))',
    });
  }
  const started = performance.now();
  const component = await buildLanguage(language, project, wit, output);
  await replaceFile(project.component, component);
  return {
    component: project.component,
    componentBytes: component.length,
    bundleBytes: 0,
    timings: { bundle: 0, componentize: Math.round(performance.now() - started) },
    upToDate: false,
    findings: checkComponent(component, project.manifest).filter(
      ({ code }) => language.frozen || code !== FROZEN,
    ),
    inputs: [],
  };
}

/** Only JavaScript has a choice. */
function noEngine(project: Project): Failure {
  const language = languageOf(project);
  const what = language === undefined ? 'no JavaScript' : `written in ${language.name}`;
  return new Failure('build.no_engine', `--engine is for JavaScript; this project is ${what}`, {
    hint: 'leave --engine out',
  });
}

function explain(error: unknown): never {
  throw withRuntimeHint(error);
}

/** A missing runtime package is the most common first error; say how to get it. */
function withRuntimeHint(error: unknown): unknown {
  if (!(error instanceof Failure) || !error.message.includes('@alga/extension-runtime'))
    return error;
  return new Failure(
    'build.runtime_missing',
    'The package @alga/extension-runtime is not installed',
    {
      hint: 'run: npm install',
      ...(error.location === undefined ? {} : { location: error.location }),
    },
  );
}

/** Changes when the bundle, the world or the tools that make the component change. */
async function cacheKey(code: string, capabilities: string[], engine: Engine): Promise<string> {
  const hash = createHash('sha256');
  hash.update(await readFile(join(PACKAGE_ROOT, 'package.json')));
  hash.update(await readFile(contractFile('wit/extension-runner.wit')));
  hash.update(JSON.stringify([capabilities, engine]));
  hash.update(code);
  return hash.digest('hex');
}

async function isUpToDate(project: Project, key: string): Promise<boolean> {
  if (!existsSync(project.component)) return false;
  try {
    const built: unknown = JSON.parse(await readFile(join(project.work, 'built.json'), 'utf8'));
    return (built as { key?: unknown }).key === key;
  } catch {
    return false;
  }
}

/** Never leaves half a file behind, so that a watcher or an upload sees the old or the new one. */
async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.partial`;
  await writeFile(temporary, content);
  await rename(temporary, path);
}
