#pragma once

#include <vector>

#include "domain/address.h"
#include "httpd/message.h"

namespace alga::httpd {

/// Says whether the request was `forwarded`: by a trusted proxy, or by anybody who shows it in
/// `Forwarded`, `Via`, `X-Forwarded-*` or `X-Real-IP`. A client can only feign that it was.
///
/// Replaces what `peer` says about a trusted proxy by what the proxy says about its client: the
/// address is the last one in `X-Forwarded-For` that is no trusted proxy itself, `secure` is the
/// last `X-Forwarded-Proto`. A peer that is not trusted is left as it is, whatever it sends, and
/// the certificate stays that of the connection.
void believe_proxies(Peer& peer, const domain::Headers& headers,
                     const std::vector<domain::Network>& trusted);

}  // namespace alga::httpd
