#include "control_plane/lease_holders.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "async/deadline.h"
#include "async/thread_name.h"
#include "sql/listener.h"

namespace alga::control_plane {
namespace {

using std::chrono::milliseconds;

constexpr const char* kChannel = "alga_changes";
constexpr const char* kAnonymous = "anonymous";
constexpr std::array<double, 8> kSeconds{0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 2};

/// Milliseconds since 1970 by the clock of the database, the one clock that all processes share.
std::string_view database_now(sql::Dialect dialect) {
  if (dialect == sql::Dialect::postgres) {
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
  }
  return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
}

/// Clocks differ a little in their speed.
constexpr milliseconds with_margin(milliseconds lease) { return lease + lease / 10; }

Result<std::int64_t> read_seq(sql::Executor& sql) {
  TRY(auto row, sql.find("SELECT seq FROM change_feed WHERE id = 1"));
  return row ? row->at<std::int64_t>(0) : std::int64_t{0};
}

Status hold(sql::Executor& sql, const std::string& id, std::int64_t seq, milliseconds span) {
  TRY_VOID(sql.execute(
      fmt::format("INSERT INTO lease_holders (id, confirmed_seq, expires_at) VALUES ($1, $2, {0} + "
                  "$3) ON CONFLICT (id) DO UPDATE SET confirmed_seq = excluded.confirmed_seq, "
                  "expires_at = excluded.expires_at",
                  database_now(sql.dialect())),
      {id, seq, static_cast<std::int64_t>(span.count())}));
  return {};
}

}  // namespace

Status mark_change(sql::Executor& sql) {
  TRY_VOID(sql.execute("UPDATE change_feed SET seq = seq + 1 WHERE id = 1"));
  if (sql.dialect() == sql::Dialect::postgres) {
    TRY_VOID(sql.query("SELECT pg_notify($1, '')", {kChannel}));
  }
  return {};
}

LeaseHolders::LeaseHolders(const Core& core)
    : core_(core),
      early_(core.deps().metrics->counter("alga_changes_settled_total",
                                          "Changes acknowledged, by what ended the wait",
                                          {{"by", "confirmation"}})),
      late_(core.deps().metrics->counter("alga_changes_settled_total",
                                         "Changes acknowledged, by what ended the wait",
                                         {{"by", "lease"}})),
      seconds_(core.deps().metrics->histogram(
          "alga_change_settle_seconds",
          "From the commit of a change until no gateway serves from before it", kSeconds)) {}

Result<std::int64_t> LeaseHolders::newest() const {
  return core_.db().read([](sql::Executor& sql) { return read_seq(sql); });
}

Result<bool> LeaseHolders::confirmed(std::int64_t seq) const {
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        fmt::format("SELECT count(*) FROM lease_holders WHERE expires_at > {} AND confirmed_seq < "
                    "$1",
                    database_now(sql.dialect())),
        {seq});
  }));
  return row && row->at<std::int64_t>(0) == 0;
}

async::Task<void> LeaseHolders::settle() const {
  constexpr milliseconds longest_pause{40};
  const SystemClock real;
  const SteadyTime began = core_.steady();
  const SteadyTime until = began + with_margin(longest_lease);
  async::BlockingPool* pool = core_.deps().blocking;
  std::int64_t seq = -1;
  for (milliseconds span{2};; span = std::min(span * 2, longest_pause)) {
    const Result<bool> done = co_await pool->run([this, &seq]() -> Result<bool> {
      if (seq < 0) {
        TRY(seq, newest());
      }
      return confirmed(seq);
    });
    const bool early = done && *done;
    if (early || core_.steady() >= until) {
      (early ? early_ : late_).add();
      seconds_.observe(std::chrono::duration<double>(core_.steady() - began).count());
      co_return;
    }
    // This bound runs by the clock of this process, a test's perhaps; what gateways do is real.
    co_await async::sleep_for(&real, span);
  }
}

Status LeaseHolders::cover_anonymous() const {
  constexpr milliseconds lease = with_margin(longest_lease);  // theirs is not known
  const SteadyTime asked = std::chrono::steady_clock::now();
  {
    const std::scoped_lock lock(mutex_);
    if (asked + lease < covered_until_) return {};
  }
  // Long enough that it is written once in a lease, and covers who was answered just before.
  TRY_VOID(
      core_.db().write([&](sql::Executor& sql) { return hold(sql, kAnonymous, -1, lease * 2); }));
  const std::scoped_lock lock(mutex_);
  covered_until_ = std::max(covered_until_, asked + lease * 2);
  return {};
}

LeaseKeeper::LeaseKeeper(const Core& core)
    : core_(core),
      id_(core.new_id()),
      pushed_(core.deps().metrics->counter("alga_lease_polls_total",
                                           "Polls that keep the lease of this gateway, by outcome",
                                           {{"outcome", "pushed"}})),
      polled_(core.deps().metrics->counter("alga_lease_polls_total",
                                           "Polls that keep the lease of this gateway, by outcome",
                                           {{"outcome", "unchanged"}})),
      failed_(core.deps().metrics->counter("alga_lease_polls_total",
                                           "Polls that keep the lease of this gateway, by outcome",
                                           {{"outcome", "failed"}})),
      thread_([this] {
        async::name_this_thread("leases");
        run();
      }) {}

LeaseKeeper::~LeaseKeeper() { stop(); }

void LeaseKeeper::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

domain::ChangeFeed::View LeaseKeeper::view() const {
  const std::scoped_lock lock(mutex_);
  return view_;
}

bool LeaseKeeper::pause(milliseconds span) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, span, [this] { return stopping_; });
}

/// The answers of before are dropped before the row says so, and the lease counts from before the
/// question: whoever waits for this row waits for no less than what view() promises.
Status LeaseKeeper::beat() {
  const milliseconds lease = core_.options().lease;
  const SteadyTime asked = core_.steady();
  sql::WriteOptions options{.deadline = sql::within(lease)};
  TRY_VOID(core_.db().write(
      [&](sql::Executor& sql) -> Status {
        TRY(const std::int64_t seq, read_seq(sql));
        {
          const std::scoped_lock lock(mutex_);
          if (seq != seen_) ++view_.epoch;
          seen_ = seq;
        }
        return hold(sql, id_, seq, with_margin(lease));
      },
      options));
  const std::scoped_lock lock(mutex_);
  view_.holding_until = asked + lease;
  return {};
}

void LeaseKeeper::run() {
  std::unique_ptr<sql::Listener> listener;
  const milliseconds between = core_.options().lease / 3;
  constexpr milliseconds after_failure{100};
  bool complained = false;
  milliseconds next{0};
  while (pause(next)) {
    // Listening comes before the look at the count: what is pushed in between is not missed.
    if (!listener && core_.db().dialect() == sql::Dialect::postgres) {
      auto opened = core_.db().listen(kChannel, sql::within(std::chrono::seconds{2}));
      if (opened) listener = std::move(*opened);
    }
    const Status done = beat();
    next = done ? milliseconds{0} : after_failure;
    if (!done) {
      failed_.add();
      if (!std::exchange(complained, true)) {
        core_.log().warn("the lease of this gateway cannot be renewed; it asks for each install",
                         {{"code", done.error().code}, {"reason", done.error().message}});
      }
      continue;
    }
    if (std::exchange(complained, false)) core_.log().info("the lease of this gateway is renewed");
    if (!listener) {
      polled_.add();
      next = between;
      continue;
    }
    const SteadyTime until = sql::within(between);
    bool told = false;
    while (!told && std::chrono::steady_clock::now() < until && pause(milliseconds{0})) {
      // In pieces, so that the end of the process is noticed.
      const auto notices = listener->wait(std::min(until, sql::within(milliseconds{50})));
      if (!notices) {
        listener.reset();
        break;
      }
      told = *notices > 0;
    }
    (told ? pushed_ : polled_).add();
  }
  {
    const std::scoped_lock lock(mutex_);
    view_.holding_until = {};
  }
  // Best effort: without it, changes wait for this row until it has run out.
  (void)core_.db().write(
      [&](sql::Executor& sql) {
        return sql.execute("DELETE FROM lease_holders WHERE id = $1", {id_});
      },
      {.deadline = sql::within(std::chrono::seconds{1})});
}

}  // namespace alga::control_plane
