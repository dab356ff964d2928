#include "telemetry/record_spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "async/thread_name.h"

namespace alga::telemetry {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> spool_failed(std::string_view what) {
  return fail(Kind::unavailable, "telemetry.spool_failed",
              fmt::format("{}: {}", what, std::strerror(errno)));
}

/// The number of `0000000000000042.jsonl`.
std::optional<std::uint64_t> segment_number(const fs::path& path) {
  const std::string stem = path.stem().string();
  const bool digits = stem.size() == 16 && stem.find_first_not_of("0123456789") == stem.npos;
  if (path.extension() != ".jsonl" || !digits) return std::nullopt;
  return std::stoull(stem);
}

std::string read_part(const std::string& path, std::uint64_t from, std::uint64_t length) {
  std::string out(length, '\0');
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {};
  std::size_t filled = 0;
  while (filled < length) {
    const ssize_t got = ::pread(descriptor, out.data() + filled, length - filled,
                                static_cast<off_t>(from + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<std::size_t>(got);
  }
  ::close(descriptor);
  out.resize(filled);
  return out;
}

/// Whose log line or event of a capability it is; nullptr for an execution.
const std::string* tenant_of_note(const Record& record) {
  if (const auto* line = std::get_if<domain::GuestLogLine>(&record)) return &line->who.tenant;
  if (const auto* event = std::get_if<domain::CapabilityEvent>(&record)) return &event->who.tenant;
  return nullptr;
}

/// The size up to the last line end: a crash may have left half a line.
std::uint64_t whole_lines(const std::string& path, std::uint64_t size) {
  constexpr std::uint64_t step = 64U << 10U;
  while (size > 0) {
    const std::uint64_t from = size > step ? size - step : 0;
    const std::string tail = read_part(path, from, size - from);
    const std::size_t end = tail.rfind('\n');
    if (end != std::string::npos) return from + end + 1;
    size = from;
  }
  return 0;
}

}  // namespace

RecordSpool::RecordSpool(RecordSpoolOptions options, const Clock& clock, Random& random,
                         Metrics& metrics, Logger log)
    : options_(std::move(options)),
      clock_(clock),
      random_(random),
      dropped_(metrics.counter("alga_records_dropped_total",
                               "Records lost because the spool was full or broken")),
      waiting_bytes_(metrics.gauge("alga_records_spool_bytes", "Size of the record spool on disk")),
      unwritten_(
          metrics.gauge("alga_records_unwritten",
                        "Records that are in memory only: what a kill of the process loses")),
      log_(std::move(log)) {}

Result<std::unique_ptr<RecordSpool>> RecordSpool::open(RecordSpoolOptions options,
                                                       const Clock& clock, Random& random,
                                                       Metrics& metrics, Logger log) {
  std::unique_ptr<RecordSpool> spool(
      new RecordSpool(std::move(options), clock, random, metrics, std::move(log)));
  TRY_VOID(spool->lock_folder());
  TRY_VOID(spool->recover());
  spool->thread_ = std::thread([self = spool.get()] {
    async::name_this_thread("records");
    self->run();
  });
  return spool;
}

RecordSpool::~RecordSpool() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  wake_.notify_all();
  written_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (descriptor_ >= 0) ::close(descriptor_);
  if (lock_ >= 0) ::close(lock_);
}

Status RecordSpool::lock_folder() {
  lock_ = ::open((options_.folder + "/lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (lock_ < 0) return spool_failed("the record spool cannot be opened");
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) return spool_failed("the record spool is in use");
  return {};
}

Status RecordSpool::recover() {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(options_.folder, error)) {
    const auto number = segment_number(entry.path());
    if (!number) continue;
    const std::string path = entry.path().string();
    const std::uint64_t size = whole_lines(path, entry.file_size(error));
    segments_.push_back({.number = *number, .size = error ? 0 : size});
  }
  if (error) return fail(Kind::unavailable, "telemetry.spool_failed", error.message());
  std::ranges::sort(segments_, {}, &Segment::number);
  read_position();
  return start_segment();
}

void RecordSpool::read_position() {
  std::ifstream file(options_.folder + "/position");
  std::uint64_t number = 0;
  std::uint64_t offset = 0;
  if (!(file >> number >> offset)) return;
  while (!segments_.empty() && segments_.front().number < number) {
    ::unlink(path_of(segments_.front().number).c_str());
    segments_.pop_front();
  }
  if (!segments_.empty() && segments_.front().number == number &&
      offset <= segments_.front().size) {
    read_offset_ = offset;
  }
}

/// Losing the newest position only repeats a delivery, so it is not synced.
void RecordSpool::store_position() {
  const std::string path = options_.folder + "/position";
  {
    std::ofstream file(path + ".new", std::ios::trunc);
    file << segments_.front().number << ' ' << read_offset_ << '\n';
  }
  ::rename((path + ".new").c_str(), path.c_str());
}

Status RecordSpool::start_segment() {
  const std::uint64_t number = segments_.empty() ? 1 : segments_.back().number + 1;
  const int fresh =
      ::open(path_of(number).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (fresh < 0) return spool_failed("no new file in the record spool");
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = fresh;
  segments_.push_back({.number = number});
  return {};
}

void RecordSpool::execution(domain::ExecutionRecord record) noexcept { take(std::move(record)); }
void RecordSpool::guest_log(domain::GuestLogLine line) noexcept { take(std::move(line)); }
void RecordSpool::capability(domain::CapabilityEvent event) noexcept { take(std::move(event)); }

bool RecordSpool::has_room(const Record& record) const {
  const std::size_t most = options_.max_queued_records;
  if (queued_[record.index()] >= most) return false;
  const std::string* tenant = tenant_of_note(record);
  if (tenant == nullptr) return true;
  const auto& counts = queued_of_[record.index()];
  const auto its = counts.find(*tenant);
  return its == counts.end() || its->second < std::max(most / 4, std::size_t{1});
}

std::uint64_t RecordSpool::share_of(const Record& record) const {
  const std::uint64_t all = options_.max_disk_bytes;
  if (std::holds_alternative<domain::GuestLogLine>(record)) return all - all / 4;
  if (std::holds_alternative<domain::CapabilityEvent>(record)) return all - all / 8;
  return all;
}

void RecordSpool::take(Record record) noexcept {
  try {
    auto* execution = std::get_if<domain::ExecutionRecord>(&record);
    std::string id =
        execution != nullptr && !execution->id.empty() ? execution->id : uuid_v7(clock_, random_);
    bool was_empty = false;
    {
      const std::scoped_lock lock(mutex_);
      if (closed_ || !has_room(record)) {
        dropped_.add();
        return;
      }
      was_empty = queue_.empty();
      ++queued_[record.index()];
      if (const std::string* tenant = tenant_of_note(record)) {
        ++queued_of_[record.index()][*tenant];
      }
      queue_.push_back({std::move(id), std::move(record)});
      ++queued_total_;
      unwritten_.set(static_cast<double>(queued_total_ - settled_total_));
    }
    if (was_empty) wake_.notify_one();
  } catch (...) {  // out of memory
    dropped_.add();
  }
}

void RecordSpool::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return closed_ || !queue_.empty(); });
    if (queue_.empty()) return;
    // One write and one sync for all that come within a moment; they cost more than the records.
    if (!closed_) wake_.wait_for(lock, options_.linger, [this] { return closed_; });
    std::vector<DeliveredRecord> batch = std::exchange(queue_, {});
    queued_.fill(0);
    for (auto& counts : queued_of_) counts.clear();
    const std::size_t records = batch.size();
    lock.unlock();
    write_batch(std::move(batch));
    lock.lock();
    settled_total_ += records;
    unwritten_.set(static_cast<double>(queued_total_ - settled_total_));
    waiting_bytes_.set(static_cast<double>(disk_bytes()));
    written_.notify_all();
  }
}

void RecordSpool::write_batch(std::vector<DeliveredRecord> batch) {
  std::uint64_t used = 0;
  {
    const std::scoped_lock lock(mutex_);
    leave_delivered_segment();
    used = disk_bytes();
  }
  std::string lines;
  std::size_t kept = 0;
  for (const DeliveredRecord& record : batch) {
    const std::string line = encode_record(record) + '\n';
    if (used + lines.size() + line.size() > share_of(record.record)) continue;
    lines += line;
    ++kept;
  }
  if (kept < batch.size()) drop(batch.size() - kept);
  if (kept == 0) return;
  {
    const std::scoped_lock lock(mutex_);
    if (segments_.back().size > 0 &&
        segments_.back().size + lines.size() > options_.max_segment_bytes) {
      if (Status started = start_segment(); !started) {
        log_.error("record spool", {{"error", started.error().message}});
        drop(kept);
        return;
      }
    }
  }
  if (!append(lines)) {
    drop(kept);
    return;
  }
  const std::scoped_lock lock(mutex_);
  segments_.back().size += lines.size();
}

/// The file that is written to stays when it has been delivered to its end. What it holds must not
/// take the room of new records for good, which a small spool would have no other file for.
void RecordSpool::leave_delivered_segment() {
  const std::uint64_t most = std::min(options_.max_segment_bytes, options_.max_disk_bytes / 8);
  const Segment last = segments_.back();
  if (segments_.size() > 1 || last.size <= most || read_offset_ < last.size) return;
  if (Status started = start_segment(); !started) {
    log_.error("record spool", {{"error", started.error().message}});
    return;
  }
  ::unlink(path_of(last.number).c_str());
  segments_.pop_front();
  read_offset_ = 0;
}

/// False when not everything is on the disk; the file then ends where it did before.
bool RecordSpool::append(std::string_view lines) {
  const off_t before = ::lseek(descriptor_, 0, SEEK_END);
  while (!lines.empty()) {
    const ssize_t written = ::write(descriptor_, lines.data(), lines.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      log_.error("record spool", {{"error", std::strerror(errno)}});
      if (::ftruncate(descriptor_, before) != 0) log_.error("record spool cannot be repaired");
      return false;
    }
    lines.remove_prefix(static_cast<std::size_t>(written));
  }
  if (options_.sync && ::fdatasync(descriptor_) != 0) {
    log_.error("record spool not synced", {{"error", std::strerror(errno)}});
  }
  return true;
}

void RecordSpool::drop(std::size_t records) { dropped_.add(static_cast<double>(records)); }

std::optional<RecordSpool::Batch> RecordSpool::next(std::size_t max_bytes, SteadyTime deadline) {
  Segment segment;
  std::uint64_t from = 0;
  {
    std::unique_lock lock(mutex_);
    auto ready = [this] { return closed_ || segments_.front().size > read_offset_; };
    // A segment that was delivered to its end, or is empty, makes room for the next one.
    while (segments_.size() > 1 && segments_.front().size <= read_offset_) {
      ::unlink(path_of(segments_.front().number).c_str());
      segments_.pop_front();
      read_offset_ = 0;
    }
    if (!written_.wait_until(lock, deadline, ready)) return std::nullopt;
    if (segments_.front().size <= read_offset_) return std::nullopt;  // closed
    segment = segments_.front();
    from = read_offset_;
  }
  Batch batch{.segment = segment.number};
  std::uint64_t length =
      std::min<std::uint64_t>(std::max<std::size_t>(max_bytes, 1), segment.size - from);
  while (true) {
    batch.lines = read_part(path_of(segment.number), from, length);
    const std::size_t end = batch.lines.rfind('\n');
    if (end != std::string::npos) {
      batch.lines.resize(end + 1);
      break;
    }
    if (length == segment.size - from) return std::nullopt;  // the file is not readable
    length = std::min(length * 2, segment.size - from);      // a line longer than asked for
  }
  batch.records = static_cast<std::size_t>(std::ranges::count(batch.lines, '\n'));
  batch.end = from + batch.lines.size();
  return batch;
}

void RecordSpool::acknowledge(const Batch& batch) {
  const std::scoped_lock lock(mutex_);
  if (segments_.front().number != batch.segment || batch.end <= read_offset_) return;
  read_offset_ = batch.end;
  if (segments_.size() > 1 && read_offset_ >= segments_.front().size) {
    ::unlink(path_of(segments_.front().number).c_str());
    segments_.pop_front();
    read_offset_ = 0;
  }
  store_position();
  waiting_bytes_.set(static_cast<double>(disk_bytes()));
  written_.notify_all();
}

bool RecordSpool::wait_delivered(SteadyTime deadline) {
  std::unique_lock lock(mutex_);
  return written_.wait_until(lock, deadline, [&] {
    return settled_total_ >= queued_total_ && segments_.size() == 1 &&
           read_offset_ >= segments_.front().size;
  });
}

bool RecordSpool::flush(SteadyTime deadline) {
  std::unique_lock lock(mutex_);
  const std::uint64_t goal = queued_total_;
  return written_.wait_until(lock, deadline, [&] { return settled_total_ >= goal; });
}

std::string RecordSpool::path_of(std::uint64_t number) const {
  return fmt::format("{}/{:016}.jsonl", options_.folder, number);
}

std::uint64_t RecordSpool::disk_bytes() const {
  std::uint64_t total = 0;
  for (const Segment& segment : segments_) total += segment.size;
  return total;
}

}  // namespace alga::telemetry
