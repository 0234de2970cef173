#include "image/jpeg_writer.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <new>

// It needs <cstdio> and does not include it.
#include <jpeglib.h>

#include "base/error.h"

namespace macadam {

namespace {

/// libjpeg reports by calls that must not return.
struct Failure : jpeg_error_mgr {
  std::jmp_buf back;
};

[[noreturn]] void give_up(j_common_ptr info) {
  std::longjmp(static_cast<Failure&>(*info->err).back, 1);
}

/// libjpeg's state and what it wrote, freed at the end; one that was never created is all zeros.
struct State : jpeg_compress_struct {
  State() : jpeg_compress_struct{} {}
  ~State() {
    jpeg_destroy_compress(this);
    std::free(bytes);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  unsigned char* bytes = nullptr;
  unsigned long size = 0;
};

}  // namespace

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  require(image.channels == 3, "a JPEG is made of RGB");
  require(quality >= 1 && quality <= 100, "a quality from 1 to 100");
  State info;
  Failure failure;
  info.err = jpeg_std_error(&failure);
  failure.error_exit = give_up;
  // The sizes fit and nothing is read: memory is all that can be missing.
  if (setjmp(failure.back) != 0) throw std::bad_alloc();
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &info.bytes, &info.size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<uint8_t*>(image.at(static_cast<int>(info.next_scanline), 0));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return {info.bytes, info.bytes + info.size};
}

}  // namespace macadam
