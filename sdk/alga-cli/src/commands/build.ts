import { existsSync } from 'node:fs';
import { join } from 'node:path';

import type { Command } from 'commander';

import { buildProject, type BuildResult } from '../build/build.js';
import { describeChoice, type Choice } from '../build/choose-engine.js';
import { engineChoice } from '../build/engine.js';
import { PromiseCheck } from '../build/promise-check.js';
import { buildUi } from '../build/ui.js';
import { codeFrame } from '../code-frame.js';
import { addCommand, shownPath } from '../command.js';
import { wasmKind } from '../component/binary.js';
import { checkComponent, type ComponentFinding } from '../component/check.js';
import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import { MANIFEST_FILE, readManifest } from '../manifest/manifest.js';
import { validateManifest } from '../manifest/validate.js';
import { formatBytes, type Output } from '../output.js';
import { hasHandler, openProject } from '../project/project.js';
import { readFile } from '../read-file.js';

export function registerBuildCommands(program: Command, environment: Environment): void {
  addCommand<{ engine?: string }>(
    program,
    'build',
    'Bundle the project and build dist/main.wasm',
    environment,
    async ({ options, project: directory, output }) => {
      const asked = options.engine === undefined ? undefined : engineChoice(options.engine);
      const project = await openProject(directory);
      const page = await buildUi(project, output);
      if (page) output.print('dist/ui  built');
      if (!hasHandler(project.manifest)) {
        if (project.manifest.ui === undefined) {
          throw new Failure(
            'build.nothing',
            'manifest.json declares neither endpoints nor a page',
            {
              hint: 'add "api": { "endpoints": [{ "method": "GET", "path": "/hello" }] }',
            },
          );
        }
        output.result({ ui: page });
        return;
      }
      const promises = new PromiseCheck(project);
      try {
        const built = await buildProject(project, output, undefined, asked);
        reportFindings(built.findings, output);
        const component = shownPath(environment, built.component);
        output.print(`${component}  ${describeBuild(built)}`);
        if (built.engine !== undefined) {
          output.print(`engine  ${describeChoice(built.engine)}`);
          warnOfLacking(built.engine, output);
        }
        await promises.finish(output);
        const { componentBytes, bundleBytes, timings, upToDate, engine, findings, inputs } = built;
        output.result({
          component,
          component_bytes: componentBytes,
          bundle_bytes: bundleBytes,
          timings,
          up_to_date: upToDate,
          engine,
          findings,
          inputs,
          ui: page,
        });
      } finally {
        await promises.stop();
      }
    },
    { project: true },
  ).option(
    '--engine <name>',
    'JavaScript engine: starlingmonkey, quickjs or auto (default: "alga": { "engine": … } in package.json, then starlingmonkey)',
  );

  addCommand(
    program,
    'validate',
    'Check manifest.json, the built component against it, and the code for promises that nobody awaits',
    environment,
    async ({ project: directory, output }) => {
      const file = join(directory, MANIFEST_FILE);
      const text = await readManifest(directory);
      const shown = shownPath(environment, file);
      const checked = validateManifest(text);
      if (!checked.ok) {
        for (const { path, message, hint, line, column } of checked.problems) {
          output.note(`${shown}:${line}:${column} ${path} ${message}`);
          output.note(codeFrame(text, line, column, 1));
          if (hint !== undefined) output.note(`  → ${hint}`);
        }
        const count = checked.problems.length;
        throw new Failure(
          'manifest.invalid',
          `${count} problem${count === 1 ? '' : 's'} in ${shown}`,
          {
            details: { problems: checked.problems },
          },
        );
      }
      const component = join(directory, 'dist', 'main.wasm');
      const findings = existsSync(component)
        ? await output.during(
            'Checking the component',
            () => componentFindings(component, checked.manifest),
            { quick: true },
          )
        : [];
      reportFindings(findings, output);
      const errors = findings.filter(({ severity }) => severity === 'error');
      if (errors.length > 0) {
        throw new Failure(
          'component.invalid',
          `The component does not fit (${errors.length} errors)`,
          {
            details: { findings },
          },
        );
      }
      const promises = new PromiseCheck(await openProject(directory));
      await promises.finish(output).finally(() => promises.stop());
      const built = existsSync(component) ? ' and dist/main.wasm' : '';
      output.print(`${shown}${built}: fine`);
      output.result({ manifest: shown, findings });
    },
    { project: true },
  );
}

async function componentFindings(
  file: string,
  manifest: Parameters<typeof checkComponent>[1],
): Promise<ComponentFinding[]> {
  const bytes = await readFile(file);
  const kind = wasmKind(bytes);
  if (kind === 'component') return checkComponent(bytes, manifest);
  const message =
    kind === 'core-module'
      ? 'dist/main.wasm is a core module, not a component'
      : 'dist/main.wasm is not a WebAssembly file';
  const hint =
    kind === 'core-module' ? 'wrap it: alga migrate wrap dist/main.wasm' : 'run: alga build';
  return [{ severity: 'error', code: 'component.not_a_component', message, hint }];
}

/** `1.55 MiB, bundle 31.2 KiB (bundled in 80 ms, built in 640 ms)`. */
function describeBuild({ componentBytes, bundleBytes, timings, upToDate }: BuildResult): string {
  const bundle = bundleBytes === 0 ? '' : `, bundle ${formatBytes(bundleBytes)}`;
  const built = upToDate ? 'up to date' : `built in ${timings.componentize} ms`;
  const times = bundleBytes === 0 ? built : `bundled in ${timings.bundle} ms, ${built}`;
  return `${formatBytes(componentBytes)}${bundle} (${times})`;
}

/** Warns of what the engine lacks that the author insisted on. */
export function warnOfLacking({ asked, uses }: Choice, output: Output): void {
  if (asked !== 'quickjs') return;
  for (const { what, file, line } of uses) {
    output.warn({
      code: 'build.lacking',
      message: `QuickJS lacks ${what}, or has it only in part`,
      hint: 'JavaScript compatibility in the docs says what; --engine auto takes the engine that fits',
      location: { file, line },
    });
  }
}

/** Shows what a check of the component found. */
export function reportFindings(findings: readonly ComponentFinding[], output: Output): void {
  for (const { severity, code, message, hint } of findings) {
    if (severity === 'warning') output.warn({ code, message, hint });
    else output.problem({ code, message, hint });
  }
}
