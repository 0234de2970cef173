#pragma once
// Work that is launched again and again with the same arguments: on CUDA it is captured once and
// from then on replayed as a graph, with one call.

#include "kernels/device.h"

namespace macadam {

class Replay {
 public:
  /// Runs `body`, which queues work on `stream`: always the same launches on the same memory. The
  /// first run is not captured: libraries may still load code.
  template <typename Body>
  void run(Stream& stream, const Body& body) {
    if (!warm_ || !stream.device().is_cuda()) {
      body();
      warm_ = true;
      return;
    }
    if (!graph_) graph_ = CapturedGraph::record(stream, body);
    graph_.launch(stream);
  }

 private:
  CapturedGraph graph_;
  bool warm_ = false;
};

}  // namespace macadam
