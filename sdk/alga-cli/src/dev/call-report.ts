import { setTimeout } from 'node:timers/promises';

import { formatLocation } from '../failure.js';
import type { Output } from '../output.js';
import type { ApiClient } from '../server/client.js';
import { explainRequest } from '../server/explain.js';
import { refusalHint } from '../server/gateway-refusal.js';
import type { SourceMaps } from '../server/source-maps.js';
import type { ProxiedCall } from './proxy.js';
import { formatUsage, usageOf, type Limits, type Metrics } from './usage.js';

interface Execution {
  request_id: string;
  end_class?: string;
  code?: string | null;
  finished_at?: string | null;
  metrics?: Metrics | null;
}

/** Records arrive a moment after the answer. */
const RECORD_ATTEMPTS = 25;
const RECORD_PAUSE_MS = 200;

/** Says what became of the calls of `alga dev`. */
export class CallReport {
  readonly #client: ApiClient;
  readonly #maps: SourceMaps;
  readonly #limits: Limits;
  readonly #output: Output;

  /** @param limits of the server, which the usage is compared with */
  constructor(client: ApiClient, maps: SourceMaps, limits: Limits, output: Output) {
    this.#client = client;
    this.#maps = maps;
    this.#limits = limits;
    this.#output = output;
  }

  /**
   * One line per call: what came out, how long it took, and what of its limits it used. After it,
   * why the gateway refused it, or why the host ended it; what the handler threw stands in the log.
   */
  async call(call: ProxiedCall): Promise<void> {
    const { method, path, status, milliseconds, refusal, requestId } = call;
    const head = `${method} ${path} → ${status} in ${milliseconds} ms`;
    if (refusal !== undefined) {
      this.#output.print(`${head}  the gateway refused it: ${refusal.message} [${refusal.code}]`);
      this.#hint(refusalHint(refusal.code, true));
      this.#output.event({ event: 'call', ...call });
      return;
    }
    const execution = await this.#execution(requestId).catch(() => undefined);
    const usage = usageOf(execution?.metrics ?? {}, this.#limits);
    const end = execution?.end_class ?? 'ok';
    this.#output.print(
      [head, ...(end === 'ok' ? [] : [end]), formatUsage(usage)].join('  ').trimEnd(),
    );
    const { end_class, code, metrics } = execution ?? {};
    const ended = end === 'ok' ? undefined : await this.#explainEnd(requestId);
    this.#output.event({ event: 'call', ...call, end_class, code, metrics, usage, ...ended });
  }

  /** Prints why the host ended an execution; returns it for scripts. */
  async #explainEnd(requestId = ''): Promise<Record<string, unknown> | undefined> {
    const explained = await explainRequest(this.#client, this.#maps, requestId);
    if (explained?.ended !== true) return undefined;
    const { error, hint } = explained;
    this.#output.print(`${this.#output.paint('31', 'error')} ${error.message}`);
    if (error.location !== undefined && error.frame !== undefined) {
      this.#output.print(`  at ${formatLocation(error.location)}\n${error.frame}`);
    }
    this.#hint(hint);
    return { explanation: error.message, hint };
  }

  #hint(hint: string | undefined): void {
    if (hint !== undefined) this.#output.print(`${this.#output.paint('36', '  → ')}${hint}`);
  }

  async #execution(requestId: string | undefined): Promise<Execution | undefined> {
    for (let attempt = 0; requestId !== undefined && attempt < RECORD_ATTEMPTS; attempt += 1) {
      const { executions } = await this.#client.json<{ executions: Execution[] }>(
        `/api/v1/executions?request=${encodeURIComponent(requestId)}`,
      );
      const found = executions.find(({ request_id: id }) => id === requestId);
      if (found?.finished_at !== undefined && found.finished_at !== null) return found;
      await setTimeout(RECORD_PAUSE_MS);
    }
    return undefined;
  }
}
