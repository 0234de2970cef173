#pragma once
// What goes on in long work, on the console.

#include <map>
#include <string>

#include "app/console.h"
#include "run/observer.h"

namespace macadam {

/// `Base`: an Observer, or what extends it.
template <typename Base = Observer>
class ConsoleObserver : public Base {
 public:
  void on_notice(const std::string& line) override { say(line); }
  void on_fault(const std::string& fault) override { warn(fault); }
  void on_progress(std::string_view work, int64_t done, int64_t total) override {
    const std::string label(work);
    lines_.try_emplace(label, label).first->second.show(done, total);
  }

 private:
  std::map<std::string, ProgressLine> lines_;
};

}  // namespace macadam
