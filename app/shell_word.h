#pragma once
// Commands that people copy from what the program says.

#include <string>
#include <string_view>

namespace macadam {

/// `text` as one word of a shell's command line, on one line: as it is where nothing in it means
/// anything to the shell, else between quotes.
std::string shell_word(std::string_view text);

}  // namespace macadam
