#include "control_plane/log_query.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "async/deadline.h"
#include "domain/limits.h"

namespace alga::control_plane {
namespace {

constexpr std::chrono::milliseconds kLookEvery{300};
constexpr std::chrono::seconds kHeartbeat{15};
constexpr std::chrono::minutes kLongestStream{30};
/// How soon a revoked key or an expired session ends what it has opened.
constexpr std::chrono::seconds kAskAgain{2};
/// Ids are made before they are committed, by several writers: for so long a follower looks again
/// for lines that sort before one it has seen.
constexpr std::chrono::seconds kLate{5};

/// The least id that a line of `kLate` before `id` can have; see Core::new_ordered_id().
std::string earlier(const std::string& id) {
  std::uint64_t time = 0;
  auto [end, code] =
      std::from_chars(id.data(), id.data() + std::min<std::size_t>(id.size(), 16), time, 16);
  if (code != std::errc{}) return id;
  const auto back =
      static_cast<std::uint64_t>(std::chrono::duration_cast<WallTime::duration>(kLate).count())
      << 16U;
  return fmt::format("{:016x}", time - std::min(time, back));
}

std::string_view level_name(std::int64_t level) {
  switch (level) {
    case 0: return "debug";
    case 2: return "warn";
    case 3: return "error";
    default: return "info";
  }
}

boost::json::object line_json(const sql::Row& row, const TenantId& tenant) {
  auto [id, at, level, stream, message, extension, install, request, version, truncated] =
      row.as<std::string, WallTime, std::int64_t, std::string, std::string, std::string,
             std::string, std::string, std::string, bool>();
  return {{"id", id},
          {"at", format_rfc3339(at)},
          {"level", level_name(level)},
          {"stream", stream},
          {"message", message},
          {"tenant", tenant.str()},
          {"extension", extension},
          {"install", install},
          {"request_id", request},
          {"version", version},
          {"truncated", truncated}};
}

/// One client that follows; lives as long as its connection.
class Follower {
 public:
  Follower(const Core& core, LogQuery query, StillAllowed still_allowed)
      : core_(core),
        query_(std::move(query)),
        still_allowed_(std::move(still_allowed)),
        ends_(now() + kLongestStream),
        ask_at_(now() + kAskAgain) {}

  static async::Task<Result<std::string>> next(std::shared_ptr<Follower> self) {
    SteadyTime heartbeat = now() + kHeartbeat;
    while (now() < self->ends_) {
      // Before the lines are read: none is sent that came after the question was due.
      if (now() >= self->ask_at_) {
        const Status allowed = co_await self->still_allowed_();
        if (!allowed) co_return self->last_event(allowed.error());
        self->ask_at_ = now() + kAskAgain;
      }
      auto page = co_await self->core_.deps().blocking->run(
          [&self] { return read_logs(self->core_, self->question()); });
      if (!page) co_return fail(std::move(page).error());
      bool first = std::exchange(self->first_, false);
      boost::json::array lines = self->unseen(std::move(page->lines));
      if (!lines.empty()) co_return events(lines);
      // Something at once tells the client that it is connected.
      if (first || now() >= heartbeat) co_return std::string(": waiting\n\n");
      co_await async::sleep_for(&self->system_clock_, kLookEvery);
    }
    co_return std::string();
  }

 private:
  std::string last_event(const Error& error) {
    ends_ = {};
    return "event: end\ndata: " + to_text(boost::json::object{{"code", error.code}}) + "\n\n";
  }
  /// What to ask next. Where a client was cut off, its next line is the first one wanted.
  [[nodiscard]] LogQuery question() const {
    LogQuery query = query_;
    if (first_ || newest_.empty()) return query;
    query.after = earlier(newest_);
    query.limit += static_cast<std::uint32_t>(seen_.size());
    return query;
  }
  boost::json::array unseen(boost::json::array lines) {
    boost::json::array fresh;
    for (auto& line : lines) {
      std::string id(line.at("id").as_string());
      newest_ = std::max(newest_, id);
      if (seen_.insert(std::move(id)).second) fresh.push_back(std::move(line));
    }
    seen_.erase(seen_.begin(), seen_.lower_bound(earlier(newest_)));
    return fresh;
  }
  static SteadyTime now() { return std::chrono::steady_clock::now(); }
  static std::string events(const boost::json::array& lines) {
    std::string text;
    for (const auto& line : lines) {
      // With its id a client that was cut off says where to go on (Last-Event-ID).
      text += "id: " + std::string(line.at("id").as_string()) + "\ndata: " + to_text(line) + "\n\n";
    }
    return text;
  }

  const Core& core_;
  LogQuery query_;
  StillAllowed still_allowed_;
  SteadyTime ends_, ask_at_;
  SystemClock system_clock_;
  bool first_ = true;
  std::string newest_;
  std::set<std::string> seen_;  ///< of the last `kLate`
};

}  // namespace

Result<LogPage> read_logs(const Core& core, const LogQuery& query) {
  bool tail = query.after.empty();
  std::string text =
      "SELECT id, at, level, stream, message, extension_id, install_id, request_id, version_id, "
      "truncated FROM extension_guest_log WHERE tenant = $1 AND level >= $2 AND id > $3 AND ($4 = "
      "'' OR install_id = $4) AND ($5 = '' OR request_id = $5) AND ($6 = '' OR stream = $6) ORDER "
      "BY id ";
  text += tail ? "DESC LIMIT $7" : "LIMIT $7";
  TRY(sql::Rows rows, core.db().read([&](sql::Executor& sql) {
    return sql.query(
        text, {query.tenant, static_cast<std::int64_t>(query.least), query.after,
               query.install.value_or(""), query.request.value_or(""), query.stream, query.limit});
  }));
  if (tail) std::ranges::reverse(rows);
  LogPage page{.last = query.after};
  for (const sql::Row& row : rows) {
    page.last = row.at<std::string>(0);
    page.lines.push_back(line_json(row, query.tenant));
  }
  return page;
}

Result<std::shared_ptr<const void>> LogFollowers::take(const TenantId& tenant) {
  {
    const std::scoped_lock lock(mutex_);
    std::size_t& own = of_tenant_[tenant.str()];
    if (own < most_of_tenant && all_ < most) {
      ++own;
      ++all_;
      return std::shared_ptr<const void>(
          static_cast<const void*>(this),
          [this, name = tenant.str()](const void*) { give_back(name); });
    }
    if (own == 0) of_tenant_.erase(tenant.str());
  }
  core_.deps()
      .metrics
      ->counter(domain::limit_hits_metric, "Limits that stopped or refused something",
                {{"limit", "log_followers"}})
      .add();
  return fail(Error{Kind::rate_limited, "log.too_many_followers",
                    fmt::format("at most {} streams of a tenant's log lines and {} in all are open "
                                "at once",
                                most_of_tenant, most),
                    10});
}

void LogFollowers::give_back(const std::string& tenant) {
  const std::scoped_lock lock(mutex_);
  --all_;
  const auto own = of_tenant_.find(tenant);
  if (--own->second == 0) of_tenant_.erase(own);
}

httpd::BodyStream follow_logs(const Core& core, LogQuery query, StillAllowed still_allowed,
                              std::shared_ptr<const void> place) {
  auto follower = std::make_shared<Follower>(core, std::move(query), std::move(still_allowed));
  return [follower, place = std::move(place)] { return Follower::next(follower); };
}

Result<boost::json::array> read_executions(const Core& core, const ExecutionQuery& query) {
  TRY(sql::Rows rows, core.db().read([&](sql::Executor& sql) {
    return sql.query(
        "SELECT id, request_id, install_id, version_id, started_at, finished_at, status, "
        "end_class, "
        "code, error, http_status, config_version, secrets_version, method, path, endpoint, "
        "duration_us, metrics, author_error, extension_id FROM extension_execution_log WHERE "
        "tenant = $1 AND ($2 = '' OR install_id = $2) AND ($3 = '' OR request_id = $3) AND ($4 = "
        "'' "
        "OR status = $4) AND ($5 = '' OR id = $5) AND (CAST($6 AS BIGINT) = 0 OR started_at < "
        "CAST($6 AS BIGINT)) AND ($7 = '' OR (started_at, id) < (SELECT o.started_at, o.id FROM "
        "extension_execution_log o WHERE o.tenant = $1 AND o.id = $7)) ORDER BY "
        "started_at DESC, id DESC LIMIT $8",
        {query.tenant, query.install, query.request, query.status, query.id,
         query.before.value_or(WallTime{}), query.older_than, query.limit});
  }));
  boost::json::array executions;
  for (const sql::Row& row : rows) {
    boost::json::object execution;
    auto text = [&](const char* name, std::size_t column) {
      execution[name] = row.at<std::string>(column);
    };
    text("id", 0);
    text("request_id", 1);
    text("install", 2);
    text("version", 3);
    execution["started_at"] = format_rfc3339(row.at<WallTime>(4));
    auto finished = row.at<std::optional<WallTime>>(5);
    execution["finished_at"] = finished ? boost::json::value(format_rfc3339(*finished)) : nullptr;
    text("status", 6);
    text("end_class", 7);
    text("code", 8);
    text("error", 9);
    execution["http_status"] = row.at<std::int64_t>(10);
    text("config_version", 11);
    text("secrets_version", 12);
    text("method", 13);
    text("path", 14);
    text("endpoint", 15);
    execution["duration_us"] = row.at<std::int64_t>(16);
    TRY(execution["metrics"], from_column(row.at<std::string>(17), "metrics"));
    text("author_error", 18);
    text("extension", 19);
    executions.push_back(std::move(execution));
  }
  return executions;
}

}  // namespace alga::control_plane
