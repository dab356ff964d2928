#include "control_plane/record_writer.h"

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <variant>

#include "async/await_callback.h"
#include "async/thread_name.h"
#include "base/late.h"
#include "control_plane/quotas.h"
#include "control_plane/record_rows.h"

namespace alga::control_plane {
namespace {

/// How long one batch may take before the database counts as unavailable.
constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::milliseconds kPause{200};

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

/// Ends and executions by the ids of their rows, notes after them in the order in which they came;
/// no starts.
std::vector<const RecordWriter::Item*> records_of(const std::vector<RecordWriter::Item>& items) {
  const auto row_of = [](const RecordWriter::Item* item) -> std::string_view {
    if (const auto* end = std::get_if<domain::FinishedExecution>(item)) return end->id;
    if (const auto* it = std::get_if<domain::ExecutionRecord>(item)) return it->id;
    return {};
  };
  std::vector<const RecordWriter::Item*> records;
  std::vector<const RecordWriter::Item*> notes;
  for (const auto& item : items) {
    if (std::holds_alternative<RecordWriter::Starting>(item)) continue;
    (row_of(&item).empty() ? notes : records).push_back(&item);
  }
  std::ranges::sort(records, {}, row_of);
  records.insert(records.end(), notes.begin(), notes.end());
  return records;
}

/// One batch on its way into the database, within one transaction. It locks what others lock, too,
/// in the order that UsageTally names: many processes write at once, and nobody runs again.
class Batch {
 public:
  Batch(sql::Executor& sql, const Core& core)
      : sql_(sql), core_(core), usage_(core.options().quotas.period) {}

  /// The outer status is the database's, `verdicts` are those on the items.
  Status store(const std::vector<RecordWriter::Item>& items, std::vector<Status>& verdicts) {
    verdicts.assign(items.size(), {});
    for (const auto* item : records_of(items)) TRY_VOID(store_record(*item));
    TRY_VOID(open_gates(items));
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (const auto* starting = std::get_if<RecordWriter::Starting>(&items[i])) {
        TRY(verdicts[i], admit(starting->execution));
      }
    }
    for (const auto& [tenant, gate] : gates_) TRY_VOID(gate.close(sql_));
    return usage_.write_installs(sql_);
  }

 private:
  Status open_gates(const std::vector<RecordWriter::Item>& items) {
    std::set<std::string> starting;
    for (const auto& item : items) {
      const auto* start = std::get_if<RecordWriter::Starting>(&item);
      if (start != nullptr) starting.insert(start->execution.who.tenant);
    }
    std::set<std::string> counted = usage_.tenants();
    counted.insert(starting.begin(), starting.end());
    for (const std::string& tenant : counted) {
      TRY_VOID(usage_.write_tenant(sql_, tenant));
      if (!starting.contains(tenant)) continue;
      TRY(QuotaGate gate, QuotaGate::open(sql_, core_, tenant));
      gates_.emplace(tenant, std::move(gate));
    }
    return {};
  }
  Result<Status> admit(const domain::StartedExecution& execution) {
    QuotaGate& gate = gates_.at(execution.who.tenant);
    if (Status verdict = gate.judge(); !verdict) return verdict;
    TRY(bool is_new, insert_started(sql_, execution));
    if (is_new) gate.count();
    return Status{};
  }
  Status store_record(const RecordWriter::Item& item) {
    return std::visit(
        Overloaded{
            [](const RecordWriter::Starting&) { return Status{}; },
            [&](const domain::FinishedExecution& it) { return update_finished(sql_, it); },
            [&](const domain::ExecutionRecord& it) { return insert_execution(sql_, it, usage_); },
            [&](const domain::GuestLogLine& it) { return insert_guest_log(sql_, core_, it); },
            [&](const domain::CapabilityEvent& it) { return insert_capability(sql_, core_, it); },
        },
        item);
  }

  sql::Executor& sql_;
  const Core& core_;
  UsageTally usage_;
  std::map<std::string, QuotaGate> gates_;
};

void answer(RecordWriter::Item& item, const Status& status) {
  auto* starting = std::get_if<RecordWriter::Starting>(&item);
  if (starting == nullptr || !starting->done) return;
  auto done = std::move(starting->done);
  if (status) {
    (*done)({});
  } else if (status.error().kind == Kind::rate_limited) {
    (*done)(fail(status.error()));
  } else {
    (*done)(fail(
        Error{Kind::unavailable, "records.unavailable", "the execution log cannot be written", 1}));
  }
}

/// Whose log line or event of a capability it is; nullptr for every other record.
const std::string* tenant_of_note(const RecordWriter::Item& item) {
  if (const auto* line = std::get_if<domain::GuestLogLine>(&item)) return &line->who.tenant;
  if (const auto* event = std::get_if<domain::CapabilityEvent>(&item)) return &event->who.tenant;
  return nullptr;
}

bool is_trouble_of_the_database(const Error& error) {
  return error.kind == Kind::unavailable || error.kind == Kind::timeout;
}

}  // namespace

RecordWriter::RecordWriter(const Core& core, Bounds bounds)
    : core_(core),
      bounds_(bounds),
      written_(core.deps().metrics->counter("alga_records_written_total",
                                            "Records of executions that were stored")),
      dropped_(core.deps().metrics->counter("alga_records_dropped_total",
                                            "Records of executions that were lost")),
      over_quota_(core.deps().metrics->counter("alga_quota_refusals_total",
                                               "Executions refused for a tenant's quota")),
      unwritten_(core.deps().metrics->gauge(
          "alga_records_unwritten",
          "Records that are in memory only: what a kill of the process loses")),
      thread_([this] { run(); }) {}

RecordWriter::~RecordWriter() { stop(sql::within(kPatience)); }

RecordWriter::Lane RecordWriter::lane_of(const Item& item) {
  if (std::holds_alternative<domain::GuestLogLine>(item)) return lines;
  return std::holds_alternative<domain::CapabilityEvent>(item) ? events : rows;
}

bool RecordWriter::is_empty() const {
  return std::ranges::all_of(queues_, [](const Queue& queue) { return queue.items.empty(); });
}

bool RecordWriter::has_room(const Queue& queue, const std::string* tenant) const {
  if (queue.items.size() >= bounds_.queue) return false;
  if (tenant == nullptr) return true;
  const auto its = queue.shares.find(*tenant);
  return its == queue.shares.end() || its->second < std::max(bounds_.queue / 4, std::size_t{1});
}

void RecordWriter::show_unwritten() {
  std::uint64_t unsettled = 0;
  for (const Queue& queue : queues_) unsettled += queue.unsettled();
  unwritten_.set(static_cast<double>(unsettled));
}

bool RecordWriter::take(Item item) noexcept {
  {
    std::lock_guard lock(mutex_);
    const std::string* tenant = tenant_of_note(item);
    Queue& queue = queues_[lane_of(item)];
    if (stopping_ || !has_room(queue, tenant)) {
      dropped_.add();
      return false;
    }
    if (tenant != nullptr) ++queue.shares[*tenant];
    queue.items.push_back(std::move(item));
    ++queue.taken;
    show_unwritten();
  }
  wake_.notify_one();
  return true;
}

void RecordWriter::execution(domain::ExecutionRecord record) noexcept { take(std::move(record)); }
void RecordWriter::guest_log(domain::GuestLogLine line) noexcept { take(std::move(line)); }
void RecordWriter::capability(domain::CapabilityEvent event) noexcept { take(std::move(event)); }
void RecordWriter::finish(domain::FinishedExecution execution) noexcept {
  take(std::move(execution));
}

async::Task<Status> RecordWriter::start(domain::StartedExecution execution) {
  co_return co_await async::await_callback<void>([this, &execution](Callback<void> done) {
    Starting starting{std::move(execution), std::make_shared<Callback<void>>(std::move(done))};
    auto answer_to = starting.done;
    if (!take(std::move(starting))) {
      (*answer_to)(fail(
          Error{Kind::unavailable, "records.unavailable", "the execution log has no room", 1}));
    }
  });
}

bool RecordWriter::flush(SteadyTime deadline) {
  std::unique_lock lock(mutex_);
  std::array<std::uint64_t, 3> taken{};
  std::ranges::transform(queues_, taken.begin(), &Queue::taken);
  return idle_.wait_until(lock, deadline, [&] {
    return std::ranges::equal(queues_, taken, std::ranges::greater_equal{}, &Queue::settled);
  });
}

void RecordWriter::stop(SteadyTime deadline) {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    give_up_ = deadline;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void RecordWriter::fill(std::vector<Item>& batch, Queue& queue, std::size_t until) {
  for (auto& items = queue.items; !items.empty() && batch.size() < until;) {
    if (const std::string* tenant = tenant_of_note(items.front())) {
      const auto its = queue.shares.find(*tenant);
      if (--its->second == 0) queue.shares.erase(its);
    }
    batch.push_back(std::move(items.front()));
    items.pop_front();
  }
}

/// What somebody waits for first; events and lines have an eighth of it each whenever there are so
/// many.
std::vector<RecordWriter::Item> RecordWriter::next_batch() {
  std::vector<Item> batch;
  const auto reserved = [this](Lane lane) {
    return std::min(queues_[lane].items.size(), bounds_.batch / 8);
  };
  fill(batch, queues_[rows], bounds_.batch - reserved(events) - reserved(lines));
  fill(batch, queues_[events], bounds_.batch - reserved(lines));
  fill(batch, queues_[lines], bounds_.batch);
  return batch;
}

void RecordWriter::run() {
  async::name_this_thread("records");
  while (true) {
    std::vector<Item> batch;
    std::array<std::size_t, 3> took{};
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !is_empty(); });
      if (is_empty()) return;
      batch = next_batch();
      for (const Item& item : batch) ++took[lane_of(item)];
    }
    // Somebody waits for a start to be on record, and for nothing else.
    if (comes_late() && std::ranges::none_of(batch, [](const auto& item) {
          return std::holds_alternative<Starting>(item);
        })) {
      come_late(std::chrono::milliseconds{400});
    }
    write(std::move(batch));
    {
      std::lock_guard lock(mutex_);
      for (const Lane lane : {rows, events, lines}) queues_[lane].settled += took[lane];
      show_unwritten();
    }
    idle_.notify_all();
  }
}

Status RecordWriter::store(const std::vector<Item>& batch, std::vector<Status>& verdicts) {
  return core_.db().write(
      [&](sql::Executor& sql) { return Batch(sql, core_).store(batch, verdicts); },
      {.deadline = sql::within(kPatience),
       .durable = sql::Durable::no,
       .isolation = sql::Isolation::read_committed});
}

void RecordWriter::write(std::vector<Item> batch) {
  while (true) {
    std::vector<Status> verdicts;
    Status stored = store(batch, verdicts);
    if (stored) return settle(batch, verdicts);
    if (!is_trouble_of_the_database(stored.error())) return write_singly(batch);
    core_.log().warn("records wait for the database", {{"code", stored.error().code}});
    // Nobody runs a guest without its row, so those who wait for one are told at once; the rest
    // is kept until the database is back.
    std::vector<Item> rest;
    for (Item& item : batch) {
      if (std::holds_alternative<Starting>(item)) {
        answer(item, stored);
      } else {
        rest.push_back(std::move(item));
      }
    }
    batch = std::move(rest);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, kPause, [&] { return stopping_; });
    if (stopping_ && std::chrono::steady_clock::now() >= give_up_) {
      dropped_.add(static_cast<double>(batch.size()));
      return;
    }
    if (batch.empty()) return;
  }
}

void RecordWriter::settle(std::vector<Item>& batch, const std::vector<Status>& verdicts) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    (verdicts[i] ? written_ : over_quota_).add();
    answer(batch[i], verdicts[i]);
  }
}

void RecordWriter::write_singly(std::vector<Item>& batch) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    std::vector<Item> one;
    one.push_back(std::move(batch[i]));
    std::vector<Status> verdict;
    Status stored = store(one, verdict);
    if (stored) {
      settle(one, verdict);
    } else if (is_trouble_of_the_database(stored.error())) {
      // Not the record's fault, and the next one would fare no better: all of them wait together.
      std::vector<Item> rest = std::move(one);
      rest.insert(rest.end(), std::make_move_iterator(batch.begin() + static_cast<long>(i) + 1),
                  std::make_move_iterator(batch.end()));
      return write(std::move(rest));
    } else {
      dropped_.add();
      core_.log().error("a record was refused", {{"code", stored.error().code}});
      answer(one.front(), stored);
    }
  }
}

}  // namespace alga::control_plane
