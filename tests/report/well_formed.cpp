#include "tests/report/well_formed.h"

#include <cctype>
#include <set>
#include <vector>

namespace macadam::testing {

namespace {

class Judge {
 public:
  explicit Judge(std::string_view text) : text_(text) {}

  std::string run() {
    if (text_.starts_with("<!DOCTYPE html>")) at_ = text_.find('>') + 1;
    bool rooted = false;
    while (fault_.empty() && at_ < text_.size()) {
      if (text_[at_] == '<') {
        if (open_.empty() && rooted) return fail("a second root element");
        rooted = true;
        tag();
      } else if (text_[at_] == '&') {
        entity();
      } else {
        if (open_.empty() && !std::isspace(byte())) return fail("text outside the root element");
        if (text_[at_] == '>') return fail("a bare >");
        character();
      }
    }
    if (!fault_.empty()) return fault_;
    if (!open_.empty()) return fail("not closed: " + std::string(open_.back()));
    return rooted ? "" : fail("no element");
  }

 private:
  uint8_t byte(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? static_cast<uint8_t>(text_[at_ + ahead]) : 0;
  }

  std::string fail(const std::string& what) {
    if (fault_.empty()) {
      fault_ = what + " at " + std::to_string(at_) + ": ..." +
               std::string(text_.substr(at_ < 30 ? 0 : at_ - 30, 60));
    }
    return fault_;
  }

  void character() {
    const uint8_t lead = byte();
    if (lead < 0x20 && lead != '\n' && lead != '\t' && lead != '\r') {
      fail("a control character");
      return;
    }
    const size_t size = lead < 0x80    ? 1
                        : lead >= 0xF0 ? 4
                        : lead >= 0xE0 ? 3
                        : lead >= 0xC2 ? 2
                                       : 0;
    if (size == 0 || lead > 0xF4) {
      fail("not UTF-8");
      return;
    }
    for (size_t i = 1; i < size; ++i) {
      if ((byte(i) & 0xC0) != 0x80) {
        fail("not UTF-8");
        return;
      }
    }
    at_ += size;
  }

  void entity() {
    const size_t end = text_.find(';', at_);
    const std::string_view name =
        end == std::string_view::npos ? "" : text_.substr(at_ + 1, end - at_ - 1);
    static const std::set<std::string_view> known = {"amp", "lt", "gt", "quot", "apos", "#39"};
    if (known.contains(name)) {
      at_ = end + 1;
    } else {
      fail("an unknown entity or a bare &");
    }
  }

  std::string_view name() {
    const size_t start = at_;
    while (std::isalnum(byte()) || byte() == '-' || byte() == ':' || byte() == '_') ++at_;
    if (at_ == start) fail("a name is missing");
    return text_.substr(start, at_ - start);
  }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(byte())) ++at_;
  }

  void tag() {
    ++at_;
    if (byte() == '/') {
      ++at_;
      const std::string_view closed = name();
      skip_space();
      if (byte() != '>') fail("a closing tag with more than a name");
      ++at_;
      if (open_.empty() || open_.back() != closed) {
        fail("</" + std::string(closed) + "> closes nothing");
      } else {
        open_.pop_back();
      }
      return;
    }
    const std::string_view element = name();
    std::set<std::string_view> attributes;
    while (fault_.empty()) {
      const size_t before = at_;
      skip_space();
      if (byte() == '/' || byte() == '>') break;
      if (before == at_) fail("no space before an attribute");
      if (!attributes.insert(name()).second) fail("an attribute twice");
      if (byte() != '=') fail("an attribute without a value");
      ++at_;
      const uint8_t quote = byte();
      if (quote != '"' && quote != '\'') fail("an attribute without quotes");
      ++at_;
      while (fault_.empty() && byte() != quote) {
        if (at_ >= text_.size() || byte() == '<') {
          fail("an attribute does not end");
        } else if (byte() == '&') {
          entity();
        } else {
          character();
        }
      }
      ++at_;
    }
    if (byte() == '/') {
      ++at_;
    } else {
      open_.push_back(element);
    }
    if (byte() != '>') fail("a tag does not end");
    ++at_;
  }

  std::string_view text_;
  size_t at_ = 0;
  std::vector<std::string_view> open_;
  std::string fault_;
};

}  // namespace

std::string xml_fault(std::string_view document) { return Judge(document).run(); }

}  // namespace macadam::testing
