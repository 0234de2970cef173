#pragma once
// Threads for the work around inference: decoding, encoding.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace macadam {

class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  ~WorkerPool() { stop(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Runs `work` on one of the threads, in order of arrival; after stop() at once, on the calling
  /// thread. What it throws is dropped.
  void post(std::function<void()> work);
  /// Finishes what is running; what waits is destroyed unrun. Not from one of the threads.
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace macadam
