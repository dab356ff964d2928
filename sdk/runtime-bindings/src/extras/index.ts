export { Router } from './router.js';
export type { RouteContext, RouteHandler } from './router.js';
export { getJson, iterate, putJson, updateJson } from './json-storage.js';
