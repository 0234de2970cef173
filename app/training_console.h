#pragma once
// What a training run tells, on the console.

#include <string>

#include "app/console.h"
#include "app/console_observer.h"
#include "run/training_run.h"

namespace macadam {

class TrainingConsole final : public ConsoleObserver<RunObserver> {
 public:
  void on_step(const Progress& p) override;
  void on_phase(const Phase& p) override;
  void on_validation(int64_t batch, int64_t batches) override;
  void on_epoch(const EpochRecord& r) override;
  void on_recovery(const Recovery& r) override;
  void on_average(const Average& a) override;
  void on_weights(const std::string& report) override;

 private:
  ProgressLine line_{"training"}, validation_{"validation"};
};

}  // namespace macadam
