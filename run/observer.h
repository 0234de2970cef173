#pragma once
// Who is told what goes on in long work: nothing below the command line writes to a terminal.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/to_size.h"

namespace macadam {

/// The calls come from the thread that does the work, on_fault() from those of the loader too.
class Observer {
 public:
  virtual ~Observer() = default;

  /// Something that was noticed or decided, in one line.
  virtual void on_notice(const std::string& line) { static_cast<void>(line); }
  /// A fault in a photo that was taken all the same (LoaderOptions::on_fault).
  virtual void on_fault(const std::string& fault) { static_cast<void>(fault); }
  /// `done` of `total` steps of `work`, as in "evaluating".
  virtual void on_progress(std::string_view work, int64_t done, int64_t total) {
    static_cast<void>(work.size() + to_size(done + total));
  }
};

}  // namespace macadam
