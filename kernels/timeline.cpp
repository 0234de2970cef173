#include "kernels/timeline.h"

#if defined(MACADAM_HAS_CUDA)
#include "kernels/cuda/cuda_ops.h"
#endif

namespace macadam {

#if !defined(MACADAM_HAS_CUDA)
namespace cuda {

// Never called: no stream of this build is one of CUDA.
static void* create_timed_event(int) { return nullptr; }
static void destroy_event(void*) {}
static void record_event(void*, void*) {}
static double milliseconds_between(void*, void*) { return 0; }

}  // namespace cuda
#endif

Timeline::Timeline(Stream& stream) : stream_(stream) {}

Timeline::~Timeline() {
  for (void* event : events_) cuda::destroy_event(event);
}

void Timeline::mark() {
  const size_t index = marks_++;
  launches_.resize(marks_);
  launches_[index] = stream_.launches();
  if (stream_.device().is_cuda()) {
    if (index == events_.size()) {
      events_.push_back(cuda::create_timed_event(stream_.device().index));
    }
    cuda::record_event(events_[index], stream_.native());
  } else {
    times_.resize(marks_);
    times_[index] = std::chrono::steady_clock::now();
  }
}

std::vector<int64_t> Timeline::launches() const {
  std::vector<int64_t> result;
  for (size_t i = 0; i < marks_; ++i) {
    result.push_back(launches_[i] - launches_[i == 0 ? 0 : i - 1]);
  }
  return result;
}

std::vector<double> Timeline::milliseconds() {
  stream_.synchronize();
  std::vector<double> result;
  for (size_t i = 0; i < marks_; ++i) {
    result.push_back(
        stream_.device().is_cuda()
            ? cuda::milliseconds_between(events_[0], events_[i])
            : std::chrono::duration<double, std::milli>(times_[i] - times_[0]).count());
  }
  return result;
}

}  // namespace macadam
