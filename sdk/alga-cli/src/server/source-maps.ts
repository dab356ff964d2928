import { SourceMap } from '../source-map.js';
import type { ApiClient } from './client.js';

const NO_ACCOUNT =
  "only the extension's publisher sees the line: add a publisher's token beside this account's " +
  'with alga login --maps, --maps-token-file or ALGA_MAPS_TOKEN';
const NOT_FOR_THIS_ACCOUNT =
  "only the extension's publisher sees the line, and the token for source maps is not one of that " +
  'publisher, or not valid any more: alga login --maps takes another';

/**
 * Source maps of published versions, from the registry, each fetched once. The registry shows them
 * to the extension's publisher and to operators, and logs to the tenant's administrators: the
 * client's account for maps is asked first, where it has one, and then that of its other requests.
 * The map of the working folder is never taken in their place: it may be of another build, and a
 * wrong line is worse than none.
 */
export class SourceMaps {
  readonly #clients: readonly ApiClient[];
  readonly #known = new Map<string, Promise<SourceMap | undefined>>();

  constructor(client: ApiClient) {
    const forMaps = client.forMaps();
    this.#clients = forMaps === undefined ? [client] : [forMaps, client];
  }

  /** What to do where a map is not to be had. */
  get hint(): string {
    return this.#clients.length === 1 ? NO_ACCOUNT : NOT_FOR_THIS_ACCOUNT;
  }

  /** @param extension id or slug; @param version version number or id */
  get(extension: string, version: string): Promise<SourceMap | undefined> {
    const key = `${extension}\n${version}`;
    const known = this.#known.get(key) ?? this.#load(extension, version);
    this.#known.set(key, known);
    return known;
  }

  async #load(extension: string, version: string): Promise<SourceMap | undefined> {
    const path = `/api/v1/extensions/${encodeURIComponent(extension)}/versions/${encodeURIComponent(version)}/source-map`;
    for (const client of this.#clients) {
      try {
        const response = await client.send(path);
        if (response.ok) return new SourceMap(await response.text());
      } catch {
        // A stack that cannot be mapped is shown as it is; that is no reason to fail.
      }
    }
    return undefined;
  }
}
