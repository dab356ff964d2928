#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "base/callback.h"
#include "base/metrics.h"
#include "domain/http.h"
#include "egress/transfer.h"

namespace alga::egress {

struct CurlLoopOptions {
  std::size_t max_in_flight = 8192;  ///< more are refused with `egress.overloaded`
  /// Name lookups at a time, each of which costs a thread; more transfers wait for their turn. A
  /// lookup that nobody waits for any more counts until the resolver is done with it. A pool whose
  /// names take long does not keep the others from theirs.
  std::size_t max_lookups = 256;
  std::size_t max_pool_lookups = 32;
  /// Of all pools whose names begin alike, up to a slash: of one tenant.
  std::size_t max_owner_lookups = 64;
  std::size_t max_pools = 512;              ///< idle ones are closed beyond it, oldest first
  std::size_t max_pool_connections = 2048;  ///< open at once in one pool; more transfers wait,
                                            ///< until their deadline
  std::size_t max_pool_idle_connections = 32;
};

/// One thread that drives any number of HTTP transfers. Connections live in pools: transfers that
/// name different pools never share one. Thread-safe.
class CurlLoop {
 public:
  CurlLoop(CurlLoopOptions options, Metrics& metrics);
  /// Ends every transfer with `egress.cancelled` and joins the thread.
  ~CurlLoop();
  CurlLoop(const CurlLoop&) = delete;
  CurlLoop& operator=(const CurlLoop&) = delete;

  using Done = Callback<domain::HttpResponse>;

  /// Starts a transfer; `done` is called once, on the loop's thread, and must not block. The number
  /// is never 0.
  std::uint64_t start(TransferSpec spec, std::string pool, Done done);
  /// Answers `done` with `error` from the loop's thread, as start() would.
  std::uint64_t reject(Error error, Done done);
  /// Ends a transfer with `egress.cancelled` unless it has ended. Unknown numbers are ignored.
  void cancel(std::uint64_t id);

 private:
  class Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace alga::egress
