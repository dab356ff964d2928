import { join, relative } from 'node:path';

import type { Command } from 'commander';

import { buildProject } from '../build/build.js';
import { buildUi } from '../build/ui.js';
import { PromiseCheck } from '../build/promise-check.js';
import { Componentizer } from '../build/componentize.js';
import { addCommand, count } from '../command.js';
import { CallReport } from '../dev/call-report.js';
import { DevDeployment, DEV_TENANT } from '../dev/deployment.js';
import { findAlgad, LocalAlgad } from '../dev/algad.js';
import { DevProxy } from '../dev/proxy.js';
import { missingSettings, readDevSettings } from '../dev/settings.js';
import { readLimits } from '../dev/usage.js';
import { ProjectWatcher } from '../dev/watcher.js';
import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import { described, type Output } from '../output.js';
import { hasHandler, openProject } from '../project/project.js';
import { ApiClient } from '../server/client.js';
import { SourceMaps } from '../server/source-maps.js';
import { systemFailure } from '../system-failure.js';
import { reportFindings, warnOfLacking } from './build.js';
import { followLogs } from './logs.js';

interface DevOptions {
  algad?: string;
  port: number;
  watch: boolean;
}

export function registerDev(program: Command, environment: Environment): void {
  addCommand<DevOptions>(
    program,
    'dev',
    'Build, run on a local algad with production limits, and rebuild on every change',
    environment,
    async ({ options, output, project }) => {
      output.goOn();
      // A project that cannot be read is reported before anything is started.
      const first = await openProject(project);
      const algad = findAlgad(environment, options.algad);
      if (algad === undefined) {
        const named = options.algad ?? environment.variables['ALGAD'] ?? '';
        const what =
          named === '' ? 'The server program algad was not found' : `${named} is no program to run`;
        throw new Failure('dev.no_algad', what, {
          hint: 'name it with --algad or the variable ALGAD, or put it into PATH',
        });
      }
      const { headers } = await readDevSettings(project);
      const session = await DevSession.start(first.root, algad, {
        port: options.port,
        headers,
        output,
      });
      try {
        await session.run(environment.signal, options.watch);
      } finally {
        await session.stop();
      }
    },
    { project: true, json: 'print events, one JSON document a line, instead of text' },
  )
    .option('--algad <file>', 'server program (default: ALGAD, then PATH)')
    .option(
      '--port <number>',
      'port of the development address; 0 takes a free one',
      count(0, 65_535),
      3210,
    )
    .option('--no-watch', 'build once and go on running');
}

/** One run of `alga dev`: a server, a door to it, and an install that follows the sources. */
class DevSession {
  readonly #componentizer = new Componentizer();
  readonly #started = Date.now();
  #promises: PromiseCheck | undefined;
  #changes: Promise<void> = Promise.resolve();

  private constructor(
    private readonly root: string,
    private readonly server: LocalAlgad,
    private readonly client: ApiClient,
    private readonly deployment: DevDeployment,
    private readonly proxy: DevProxy,
    private readonly output: Output,
  ) {}

  static async start(
    root: string,
    algad: string,
    { port, headers, output }: { port: number; headers: readonly string[]; output: Output },
  ): Promise<DevSession> {
    const folder = join(root, '.alga', 'dev');
    const server = await output.during(
      'Starting algad',
      () => LocalAlgad.start(algad, folder, headers),
      { note: ({ url }) => url },
    );
    try {
      const client = new ApiClient({ url: server.url, token: server.token, tenant: DEV_TENANT });
      const { manifest } = await openProject(root);
      const deployment = new DevDeployment(client, folder, manifest.publisher ?? 'dev');
      await deployment.prepare();
      const base = () => {
        const { install } = deployment;
        return install === undefined ? undefined : `/api/ext/${encodeURIComponent(install.id)}`;
      };
      const page = () => {
        const { install } = deployment;
        const entry = manifest.ui?.entry.replace(/^ui\//, '');
        if (install === undefined || entry === undefined) return undefined;
        return `${server.url}/ext-ui/${install.extension_id}/${install.content_hash}/${entry}?tenant=${DEV_TENANT}`;
      };
      const maps = new SourceMaps(client);
      const report = new CallReport(client, maps, await readLimits(algad), output);
      const proxy = await DevProxy.start({
        client,
        base,
        page,
        onCall: (call) => void report.call(call),
        onBadRequest: (message) => output.warn({ code: 'dev.bad_request', message }),
        port,
      });
      return new DevSession(root, server, client, deployment, proxy, output);
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  /** Runs until the user interrupts or the server ends. */
  async run(signal: AbortSignal, watchFiles: boolean): Promise<void> {
    // A component in the making may take long: its top level is the author's.
    signal.addEventListener('abort', () => this.#componentizer.close(), { once: true });
    const interrupted = new Promise<'interrupted'>((done) => {
      if (signal.aborted) done('interrupted');
      signal.addEventListener('abort', () => done('interrupted'), { once: true });
    });
    // What is under way on the server ends with the server.
    const first = await Promise.race([this.#rebuild(signal), interrupted]);
    if (first === 'interrupted') return;
    const watcher = watchFiles
      ? new ProjectWatcher(this.root, (files) => {
          const names = files.map((file) => relative(this.root, file));
          this.output.event({ event: 'changed', files: names });
          this.#changes = this.#changes.then(() => this.#rebuild(signal));
        })
      : undefined;
    const stopping = new AbortController();
    const logs = this.#followLogs(AbortSignal.any([signal, stopping.signal]));
    const ended = this.server.ended.then(() => 'ended' as const);
    const why = await Promise.race([interrupted, ended]);
    watcher?.close();
    stopping.abort();
    await logs;
    if (why === 'interrupted') return;
    await this.#changes;
    throw new Failure('dev.algad_ended', 'algad ended by itself', {
      hint: `its log is in ${join(this.root, '.alga', 'dev', 'algad.log')}`,
    });
  }

  async stop(): Promise<void> {
    this.#componentizer.close();
    await this.#promises?.stop();
    await this.proxy.stop();
    await this.server.stop();
  }

  /** Builds and installs; what goes wrong is shown, and the version before goes on running. */
  async #rebuild(signal: AbortSignal): Promise<void> {
    const interrupted = () => signal.aborted;
    if (interrupted()) return;
    const started = performance.now();
    try {
      const project = await openProject(this.root);
      const settings = await readDevSettings(this.root);
      await buildUi(project, this.output);
      if (hasHandler(project.manifest)) {
        const built = await buildProject(project, this.output, this.#componentizer);
        reportFindings(built.findings, this.output);
        if (built.engine !== undefined) warnOfLacking(built.engine, this.output);
      }
      const install = await this.output.during('Publishing and installing', () =>
        this.deployment.deploy(project, settings),
      );
      const milliseconds = Math.round(performance.now() - started);
      const { url } = this.proxy;
      const page = project.manifest.ui === undefined ? {} : { host_page: `${url}/__alga/host` };
      this.output.event({ event: 'ready', url, install, milliseconds, ...page });
      for (const message of missingSettings(project.manifest, settings)) {
        this.output.warn({ code: 'dev.missing_setting', message });
      }
      await this.#promises?.stop();
      this.#promises = new PromiseCheck(project);
      void this.#promises.report(this.output);
    } catch (error) {
      if (interrupted()) return;
      const failure =
        error instanceof Failure
          ? error
          : (systemFailure(error) ??
            new Failure('internal', error instanceof Error ? error.message : String(error)));
      this.output.problem(described(failure), this.deployment.install?.version);
    }
  }

  async #followLogs(signal: AbortSignal): Promise<void> {
    const { install } = this.deployment;
    const maps = new SourceMaps(this.client);
    const query = new URLSearchParams({ limit: '1' });
    if (install !== undefined) query.set('install', install.id);
    // The folder of the server is kept: what earlier runs logged is there, and was shown then.
    await followLogs(this.client, query, maps, this.output, signal, this.#started);
  }
}
