#include "app/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.h"

namespace macadam {

std::pair<int, int> parse_size(std::string_view text, std::string_view option) {
  int width = 0, height = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, width);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == 'x') {
    const auto second = std::from_chars(first.ptr + 1, end, height);
    if (second.ec == std::errc() && second.ptr == end && width > 0 && height > 0 &&
        width <= 65536 && height <= 65536) {
      return {width, height};
    }
  }
  throw InputError(fmt::format("'{}' is not a size", text), std::string(option),
                   "write WIDTHxHEIGHT, such as 512x256");
}

void refuse_options(const CLI::App& command, std::initializer_list<const char*> names,
                    std::string_view subject) {
  for (const char* name : names) {
    if (command.count(name) == 0) continue;
    throw InputError(fmt::format("{} has no effect on {}", name, subject), command.get_name(),
                     "leave it out");
  }
}

}  // namespace macadam
