#include "loader/jpeg.h"

#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

// They need <cstdio> and do not include it.
#include <jerror.h>
#include <jpeglib.h>

#include "kernels/error.h"

namespace macadam {

namespace {

/// libjpeg reports by calls that must not return. They jump back to Decoder::run.
struct Failure : jpeg_error_mgr {
  std::jmp_buf back;
  char reason[JMSG_LENGTH_MAX] = {};
};

[[noreturn]] void give_up(j_common_ptr info) {
  auto& failure = static_cast<Failure&>(*info->err);
  failure.format_message(info, failure.reason);
  std::longjmp(failure.back, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level < 0) give_up(info);  // a warning; the others tell of progress
}

/// A small file can hold thousands of scans, each of which costs a pass over the whole image.
void limit_scans(j_common_ptr info) {
  constexpr int kMaxScans = 500;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto& failure = static_cast<Failure&>(*info->err);
  std::snprintf(failure.reason, sizeof failure.reason, "more than %d scans", kMaxScans);
  std::longjmp(failure.back, 1);
}

/// libjpeg's state, freed at the end; one that was never created is all zeros.
struct State : jpeg_decompress_struct {
  State() : jpeg_decompress_struct{} {}
  ~State() { jpeg_destroy_decompress(this); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

/// One decompression of libjpeg, of which every step may fail.
class Decoder {
 public:
  Decoder(std::span<const uint8_t> bytes, std::string_view name) : name_(name) {
    info_.err = jpeg_std_error(&failure_);
    failure_.error_exit = give_up;
    failure_.emit_message = on_message;
    run([&](jpeg_decompress_struct& info) {
      jpeg_create_decompress(&info);
      progress_.progress_monitor = limit_scans;
      info.progress = &progress_;
      jpeg_mem_src(&info, bytes.data(), bytes.size());
      jpeg_read_header(&info, TRUE);
    });
  }

  const jpeg_decompress_struct& info() const { return info_; }

  /// Runs `step(jpeg_decompress_struct&)`. Requires a step that keeps nothing that needs a
  /// destructor: a failure leaves it by longjmp. Throws InputError with libjpeg's reason.
  template <class Step>
  void run(const Step& step) {
    if (setjmp(failure_.back) == 0) {
      step(info_);
      return;
    }
    if (failure_.msg_code == JERR_OUT_OF_MEMORY) throw std::bad_alloc();
    throw InputError(fmt::format("JPEG file is truncated or damaged ({})", failure_.reason), name_,
                     "copy or download the file again, or save it as an 8-bit JPEG or PNG");
  }

 private:
  std::string_view name_;
  Failure failure_;
  jpeg_progress_mgr progress_{};
  State info_;
};

/// x * y / 255, rounded.
int multiply(int x, int y) { return (x * y + 127) / 255; }

/// One row of CMYK; `inverted` as Adobe writes it: 255 is no ink.
void convert_cmyk(const uint8_t* cmyk, int width, bool inverted, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4) {
    const int paper = inverted ? cmyk[3] : 255 - cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? 255 - cmyk[c] : cmyk[c];
      *rgb++ = static_cast<uint8_t>(paper - multiply(ink, paper));
    }
  }
}

}  // namespace

bool is_jpeg(std::span<const uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

JpegHeader read_jpeg_header(std::span<const uint8_t> bytes, std::string_view name) {
  const Decoder decoder(bytes, name);
  const auto& info = decoder.info();
  return {static_cast<int>(info.image_height), static_cast<int>(info.image_width),
          info.num_components};
}

Image decode_jpeg(std::span<const uint8_t> bytes, int reduction, std::string_view name) {
  require(reduction == 1 || reduction == 2 || reduction == 4 || reduction == 8,
          "a JPEG is reduced to a half, a quarter or an eighth");
  Decoder decoder(bytes, name);
  const bool cmyk =
      decoder.info().jpeg_color_space == JCS_CMYK || decoder.info().jpeg_color_space == JCS_YCCK;
  decoder.run([&](jpeg_decompress_struct& info) {
    info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    info.scale_num = 1;
    info.scale_denom = static_cast<unsigned>(reduction);
    jpeg_calc_output_dimensions(&info);
  });
  Image image(static_cast<int>(decoder.info().output_height),
              static_cast<int>(decoder.info().output_width), 3);
  std::vector<uint8_t> inks(cmyk ? size_t{4} * decoder.info().output_width : 0);
  decoder.run([&](jpeg_decompress_struct& info) {
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
      uint8_t* pixels = image.at(static_cast<int>(info.output_scanline), 0);
      uint8_t* row = cmyk ? inks.data() : pixels;
      jpeg_read_scanlines(&info, &row, 1);
      if (cmyk) convert_cmyk(row, image.width, info.saw_Adobe_marker, pixels);
    }
    jpeg_finish_decompress(&info);
  });
  return image;
}

}  // namespace macadam
