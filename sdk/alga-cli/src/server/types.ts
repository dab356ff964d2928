/** Shapes of the control plane's API that the commands use. */

export interface Principal {
  id: string;
  roles: string[];
  tenant: string | null;
  publisher: string | null;
  label: string;
}

export interface Install {
  id: string;
  tenant: string;
  extension_id: string;
  slug: string;
  version_id: string;
  version: string;
  content_hash: string;
  enabled: boolean;
  status: string;
  granted: string[];
  requested: string[];
  egress: string[];
  config_version: string | number;
  secrets_version: string | number;
}

export interface CapabilityDifference {
  requested: string[];
  granted: string[];
  withheld: string[];
}

export interface Extension {
  id: string;
  slug: string;
  publisher: string;
  name: string;
  versions: { id: string; version: string; content_hash: string; created_at: string }[];
}

export interface UploadAnswer {
  upload: { key: string };
  contentHash?: string;
}

export interface FinalizeAnswer {
  extension: { id: string; name: string; publisher: string; slug?: string };
  version: { id: string; version: string };
  contentHash: string;
  warnings?: { code: string; message: string }[];
}

export interface LogLine {
  id?: string;
  at: string | number;
  level: string;
  stream: string;
  message: string;
  tenant?: string;
  extension?: string;
  install?: string;
  request_id?: string;
  version?: string;
  truncated?: boolean;
}
