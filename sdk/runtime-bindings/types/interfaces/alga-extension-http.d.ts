/// <reference path="./alga-extension-types.d.ts" />
declare module 'alga:extension/http@1.0.0' {
  export function fetch(request: HttpRequest): HttpResponse;
  export type HttpRequest = import('alga:extension/types@1.0.0').HttpRequest;
  export type HttpResponse = import('alga:extension/types@1.0.0').HttpResponse;
  /**
   * # Variants
   * 
   * ## `"invalid-url"`
   * 
   * The URL, method or a header is not valid.
   * ## `"not-allowed"`
   * 
   * The capability or the egress policy does not allow the request.
   * ## `"transport"`
   * 
   * The connection could not be made or broke.
   * ## `"timeout"`
   * 
   * The call or the execution ran out of time.
   * ## `"too-large"`
   * 
   * The response is larger than the limit.
   * ## `"limit"`
   * 
   * Too many calls in this execution.
   * ## `"internal"`
   */
  export type HttpError = 'invalid-url' | 'not-allowed' | 'transport' | 'timeout' | 'too-large' | 'limit' | 'internal';
}
