//! The traits of a type that has an `Unblock` in one of its fields.
//!
//! These methods are `#[inline]`, and so are the others of such types that are neither generic nor
//! `async`: a program that does not call them does not have them compiled, nor the `Unblock` of
//! that type, which is much code.

/// Implements the reading traits for `$type` by its field.
macro_rules! delegate_read {
    ($type:ty, $field:tt) => {
        impl futures_io::AsyncRead for $type {
            #[inline]
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncRead::poll_read(std::pin::Pin::new(&mut self.$field), context, buffer)
            }

            #[inline]
            fn poll_read_vectored(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncRead::poll_read_vectored(
                    std::pin::Pin::new(&mut self.$field),
                    context,
                    buffers,
                )
            }
        }

        impl futures_io::AsyncBufRead for $type {
            #[inline]
            fn poll_fill_buf(
                self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<&[u8]>> {
                let inner = std::pin::Pin::new(&mut self.get_mut().$field);
                futures_io::AsyncBufRead::poll_fill_buf(inner, context)
            }

            #[inline]
            fn consume(mut self: std::pin::Pin<&mut Self>, count: usize) {
                futures_io::AsyncBufRead::consume(std::pin::Pin::new(&mut self.$field), count);
            }
        }

        #[cfg(feature = "tokio")]
        impl tokio::io::AsyncRead for $type {
            #[inline]
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut self.$field), context, buffer)
            }
        }

        #[cfg(feature = "tokio")]
        impl tokio::io::AsyncBufRead for $type {
            #[inline]
            fn poll_fill_buf(
                self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<&[u8]>> {
                futures_io::AsyncBufRead::poll_fill_buf(self, context)
            }

            #[inline]
            fn consume(self: std::pin::Pin<&mut Self>, count: usize) {
                futures_io::AsyncBufRead::consume(self, count);
            }
        }
    };
}
pub(crate) use delegate_read;

/// Implements the writing traits for `$type` by its field. `$type` has a method `after_close`.
macro_rules! delegate_write {
    ($type:ty, $field:tt) => {
        impl futures_io::AsyncWrite for $type {
            #[inline]
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncWrite::poll_write(std::pin::Pin::new(&mut self.$field), context, bytes)
            }

            #[inline]
            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let inner = std::pin::Pin::new(&mut self.$field);
                futures_io::AsyncWrite::poll_write_vectored(inner, context, slices)
            }

            #[inline]
            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                futures_io::AsyncWrite::poll_flush(std::pin::Pin::new(&mut self.$field), context)
            }

            #[inline]
            fn poll_close(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let closed =
                    futures_io::AsyncWrite::poll_close(std::pin::Pin::new(&mut self.$field), context)?;
                closed.map(|()| self.get_mut().after_close())
            }
        }

        #[cfg(feature = "tokio")]
        impl tokio::io::AsyncWrite for $type {
            #[inline]
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncWrite::poll_write(self, context, bytes)
            }

            #[inline]
            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncWrite::poll_write_vectored(self, context, slices)
            }

            #[inline]
            fn is_write_vectored(&self) -> bool {
                true
            }

            #[inline]
            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                futures_io::AsyncWrite::poll_flush(self, context)
            }

            #[inline]
            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                futures_io::AsyncWrite::poll_close(self, context)
            }
        }
    };
}
pub(crate) use delegate_write;
