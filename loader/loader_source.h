#pragma once
// A loader as the source of batches of a training run.

#include "engine/input/batch_source.h"
#include "loader/loader.h"

namespace macadam {

class LoaderSource final : public BatchSource {
 public:
  /// `loader` outlives it.
  explicit LoaderSource(Loader& loader) : loader_(loader) {}

  int64_t batches() const override { return loader_.steps(); }
  void start(int64_t epoch, int64_t first) override;
  const Batch& next() override;
  SourceStats stats() const override { return loader_.stats(); }
  std::string sample_name(int sample) const override;

 private:
  Loader& loader_;
  BatchLease lease_;
};

}  // namespace macadam
