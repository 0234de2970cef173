#pragma once
// Photos that wait for a device become batches: whoever waits longest goes first, and takes along
// what waits for the same model.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace macadam {

using Clock = std::chrono::steady_clock;

enum class JobEnd : uint8_t {
  done,
  expired,    // it was not begun before its deadline, or has given up then
  abandoned,  // nobody wants the result
  failed,     // Job::fault says why
  stopped,    // the batcher ends
};

/// One photo's work on a device. What it works on and what it makes are the derived class's.
class Job {
 public:
  virtual ~Job() = default;
  /// Whether nobody wants the result any more.
  virtual bool abandoned() const { return false; }
  /// Called once, when it has ended, on a thread that others wait for: quick. What it throws is
  /// dropped. Where memory ends a job may be destroyed without it.
  virtual void ended() = 0;
  /// Whether what runs is in vain: the deadline has passed, nobody wants the result, or the batcher
  /// ends. Long work asks now and then, and throws; the job ends as what was found here first.
  bool gives_up();

  const void* group = nullptr;  // jobs of one group, which is not null, may run as one batch
  Clock::time_point deadline = Clock::time_point::max();

  // Set when ended() is called:
  JobEnd end = JobEnd::stopped;
  std::string fault;
  Clock::time_point queued, begun, finished;  // begun and finished: of those that ran
  int batch = 0;                              // how many ran together; 0: none has begun

 private:
  friend class Batcher;

  const std::atomic<bool>* stopping_ = nullptr;  // of the batcher that runs it
  std::optional<JobEnd> gave_up_;
};

struct BatcherOptions {
  int replicas = 1;   // batches that run at once
  int max_batch = 1;  // jobs
  /// How long the first of a batch waits for more.
  std::chrono::microseconds max_delay{0};
};

class Batcher {
 public:
  /// Runs jobs of one group as replica number `replica`; throws when one of them cannot be done:
  /// several are then tried one by one, so that only that one fails.
  using Run = std::function<void(int replica, std::span<Job* const> jobs)>;

  Batcher(const BatcherOptions& options, Run run);
  ~Batcher() { stop(); }
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  /// Finishes the batches that run, as far as they do not give up; what waits ends as `stopped`,
  /// and so does what is submitted later. Not from a job.
  void stop();
  void submit(std::unique_ptr<Job> job);
  /// Jobs that wait.
  size_t waiting() const;

 private:
  using Jobs = std::vector<std::unique_ptr<Job>>;

  void work(int replica);
  /// The next batch; empty when the batcher ends.
  Jobs take();
  /// Moves what may run along with the first of `batch` to it. With mutex_ held.
  void gather(Jobs& batch);
  void run(int replica, Jobs& batch);
  /// Runs jobs and says how they ended.
  void attempt(int replica, std::span<Job* const> jobs);
  /// Ends jobs that have waited in vain.
  void sweep();
  /// Takes them out. With mutex_ held.
  Jobs take_vain();

  const BatcherOptions options_;
  const Run run_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_, stopped_;
  std::deque<std::unique_ptr<Job>> waiting_;
  std::atomic<bool> stopping_ = false;  // set with mutex_ held
  std::vector<std::jthread> threads_;
};

}  // namespace macadam
