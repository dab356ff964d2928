declare module 'alga:extension/types@1.0.0' {
  /**
   * Who is calling and on whose behalf. Identifiers are opaque strings.
   */
  export interface ContextData {
    requestId?: string,
    tenantId: string,
    extensionId: string,
    installId?: string,
    versionId?: string,
  }
  /**
   * One header field. Repeated names are repeated entries.
   */
  export interface HttpHeader {
    name: string,
    value: string,
  }
  export interface HttpRequest {
    method: string,
    /**
     * For an incoming request: path and query, starting with `/`. For `http.fetch`: an absolute URL.
     */
    url: string,
    headers: Array<HttpHeader>,
    body?: Uint8Array,
  }
  export interface HttpResponse {
    status: number,
    headers: Array<HttpHeader>,
    body?: Uint8Array,
  }
  export interface ExecuteRequest {
    context: ContextData,
    http: HttpRequest,
  }
  export interface ExecuteResponse {
    status: number,
    headers: Array<HttpHeader>,
    body?: Uint8Array,
  }
}
