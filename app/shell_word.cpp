#include "app/shell_word.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/printable.h"

namespace macadam {

namespace {

bool is_plain(unsigned char c) {
  constexpr std::string_view kHarmless = "_-./=:,+@%";
  return (c < 0x80 && std::isalnum(c) != 0) ||
         kHarmless.find(static_cast<char>(c)) != std::string_view::npos;
}

}  // namespace

std::string shell_word(std::string_view text) {
  if (!text.empty() && std::ranges::all_of(text, is_plain)) return std::string(text);
  std::string word;
  if (printable(text) == text) {
    for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return fmt::format("'{}'", word);
  }
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F) {
      word += fmt::format("\\x{:02x}", byte);
    } else {
      word += (c == '\'' || c == '\\') ? fmt::format("\\{}", c) : std::string(1, c);
    }
  }
  return fmt::format("$'{}'", word);  // bash, zsh, ksh and POSIX of 2024
}

}  // namespace macadam
