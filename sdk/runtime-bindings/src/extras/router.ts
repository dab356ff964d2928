import type { HandlerContext, HandlerFunction } from '../handler.js';
import { json, type HandlerResult } from '../response.js';

/** What a route's handler gets: the handler's context and the parameters of the path. */
export type RouteContext<Params extends string = string> = HandlerContext & {
  params: Record<Params, string>;
};

/** The names after `:` or `*` in a pattern, as a union type. */
type ParamsOf<Pattern extends string> = Pattern extends `${infer Head}/${infer Tail}`
  ? ParamsOf<Head> | ParamsOf<Tail>
  : Pattern extends `:${infer Name}` | `*${infer Name}`
    ? Name
    : never;

export type RouteHandler<Params extends string = string> = (
  context: RouteContext<Params>,
) => HandlerResult | Promise<HandlerResult>;

interface Route {
  method: string;
  segments: string[];
  run: RouteHandler;
}

/**
 * Chooses a handler by method and path:
 *
 *     const router = new Router().get('/tickets/:id', ({ params }) => json({ id: params.id }));
 *     export default handler(router.handle);
 *
 * `:name` matches one segment, `*name` at the end matches the rest; both are percent-decoded.
 * Routes are tried in the order they were added. No path matches: 404. Another method would
 * match: 405 with `allow`. HEAD falls back to GET without the body.
 */
export class Router {
  readonly #routes: Route[] = [];

  get = this.#adder('GET');
  post = this.#adder('POST');
  put = this.#adder('PUT');
  patch = this.#adder('PATCH');
  delete = this.#adder('DELETE');

  /** Adds a route for any method name. */
  on<Pattern extends string>(
    method: string,
    pattern: Pattern,
    run: RouteHandler<ParamsOf<Pattern>>,
  ): this {
    if (!pattern.startsWith('/')) throw new TypeError(`A route starts with "/": ${pattern}`);
    const segments = pattern.split('/').slice(1);
    if (segments.slice(0, -1).some((segment) => segment.startsWith('*'))) {
      throw new TypeError(`"*" may only be the last segment: ${pattern}`);
    }
    this.#routes.push({ method: method.toUpperCase(), segments, run: run });
    return this;
  }

  /** The function to give to `handler()`. */
  readonly handle: HandlerFunction = async (context) => {
    const { method, path } = context.request;
    const allowed = new Set<string>();
    for (const wanted of method === 'HEAD' ? ['HEAD', 'GET'] : [method]) {
      for (const route of this.#routes) {
        const params = match(route.segments, path);
        if (params === undefined) continue;
        allowed.add(route.method);
        if (route.method !== wanted) continue;
        const answer = await route.run({ ...context, params });
        return method === 'HEAD' ? withoutBody(answer) : answer;
      }
    }
    if (allowed.size === 0) return json({ error: { code: 'not_found', path } }, { status: 404 });
    const allow = [...allowed].sort().join(', ');
    return json({ error: { code: 'method_not_allowed' } }, { status: 405, headers: { allow } });
  };

  #adder(method: string) {
    return <Pattern extends string>(pattern: Pattern, run: RouteHandler<ParamsOf<Pattern>>): this =>
      this.on(method, pattern, run);
  }
}

function match(segments: string[], path: string): Record<string, string> | undefined {
  const parts = path.split('/').slice(1);
  const params: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    if (segment.startsWith('*')) {
      const rest = decode(parts.slice(index).join('/'));
      if (rest === undefined) return undefined;
      params[segment.slice(1)] = rest;
      return params;
    }
    const part = parts[index];
    if (part === undefined) return undefined;
    if (!segment.startsWith(':')) {
      if (part !== segment) return undefined;
      continue;
    }
    const value = decode(part);
    if (value === undefined || value === '') return undefined;
    params[segment.slice(1)] = value;
  }
  return parts.length === segments.length ? params : undefined;
}

function decode(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

function withoutBody(answer: HandlerResult): HandlerResult {
  if (answer instanceof Response) {
    return new Response(null, { status: answer.status, headers: answer.headers });
  }
  return { status: answer.status, headers: answer.headers };
}
