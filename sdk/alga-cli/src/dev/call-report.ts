import { setTimeout } from 'node:timers/promises';

import type { AuthorError } from '../author-error.js';
import type { Output } from '../output.js';
import type { ApiClient } from '../server/client.js';
import { explainRequest } from '../server/explain.js';
import { refusalHint } from '../server/gateway-refusal.js';
import type { SourceMaps } from '../server/source-maps.js';
import type { ProxiedCall } from './proxy.js';
import { usageOf, type Limits, type Metrics } from './usage.js';

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
   * What came out of a call, how long it took, and what of its limits it used; why the gateway
   * refused it, or why the host ended it. What the handler threw stands in the log.
   */
  async call({ requestId, refusal, ...call }: ProxiedCall): Promise<void> {
    const made = { event: 'call', ...call, request_id: requestId } as const;
    if (refusal !== undefined) {
      this.#output.event({ ...made, refusal, hint: refusalHint(refusal.code, true) });
      return;
    }
    const execution = await this.#execution(requestId).catch(() => undefined);
    const { end_class, code, metrics } = execution ?? {};
    const usage = usageOf(metrics ?? {}, this.#limits);
    const ended = end_class === undefined || end_class === 'ok' ? {} : await this.#end(requestId);
    this.#output.event({ ...made, end_class, code, metrics, usage, ...ended });
  }

  /** Why the host ended an execution, where it did. */
  async #end(requestId = ''): Promise<{ explanation?: AuthorError; hint?: string }> {
    const explained = await explainRequest(this.#client, this.#maps, requestId);
    if (explained?.ended !== true) return {};
    const { error, hint } = explained;
    return { explanation: error, ...(hint === undefined ? {} : { hint }) };
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
