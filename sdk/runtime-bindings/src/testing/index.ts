export { TestHost, TestResponse } from './test-host.js';
export type {
  ErrorCodes,
  RecordedCall,
  Reply,
  TestHostOptions,
  TestRequest,
  Upstream,
} from './test-host.js';
export { createMockHostBindings } from './mock-host-bindings.js';
export type { HostBindingOverrides } from './mock-host-bindings.js';
