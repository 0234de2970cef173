#include "base/error.h"

#include "base/printable.h"

namespace macadam {

namespace {

std::string join(std::string_view what, std::string_view where, std::string_view remedy) {
  std::string line = printable(what);
  for (std::string_view part : {where, remedy}) {
    if (part.empty()) continue;
    line += ": ";
    line += printable(part);
  }
  return line;
}

}  // namespace

Error::Error(ErrorKind kind, std::string_view what, std::string_view where, std::string_view remedy)
    : std::runtime_error(join(what, where, remedy)), kind_(kind) {}

}  // namespace macadam
