import struct

from django.urls import path
from shop.download import download
from shop.points import points
from shop.views import LARGEST, upload

from pistoke.testing import WebsocketSimpleTestCase

urlpatterns = [
    path("upload/", upload),
    path("download/<str:name>/", download),
    path("points/", points),
]


class Files(WebsocketSimpleTestCase):
    async def test_upload_and_download(self):
        content = bytes(range(256)) * 1024
        async with self.async_client.websocket("/upload/") as ws:
            await ws.send_json({"size": len(content)})
            for start in range(0, len(content), 100000):
                piece = content[start : start + 100000]
                await ws.send(piece)
                self.assertEqual(await ws.receive_json(), {"received": start + len(piece)})
            name = (await ws.receive_json())["saved"]
        async with self.async_client.websocket("/download/{}/".format(name)) as ws:
            pieces = [piece async for piece in ws]
            self.assertEqual((b"".join(pieces), len(pieces), ws.close_code), (content, 4, 1000))

    async def test_bad_uploads(self):
        large = b"0" * (2**20 + 1)
        cases = [(3, "text", 4400), (3, b"four", 4400), (LARGEST + 1, None, 4413), (len(large), large, 1009)]
        for size, piece, code in cases:
            async with self.async_client.websocket("/upload/") as ws:
                await ws.send_json({"size": size})
                if piece:
                    await ws.send(piece)
                self.assertEqual(await ws.wait_closed(), code)

    async def test_client_that_leaves(self):
        async with self.async_client.websocket("/upload/") as ws:
            await ws.send_json({"size": 3})
            await ws.send(b"1")
            await ws.receive()

    async def test_no_such_file(self):
        async with self.async_client.websocket("/download/none/") as ws:
            self.assertEqual(await ws.wait_closed(), 4404)

    async def test_no_other_directory(self):
        with self.assertLogs("django.security.SuspiciousFileOperation", "ERROR"):
            async with self.async_client.websocket("/download/../") as ws:
                self.assertEqual(await ws.wait_closed(), 4400)

    async def test_points(self):
        async with self.async_client.websocket("/points/") as ws:
            await ws.send(struct.pack("<Hff", 7, 1.5, 2.5))
            self.assertEqual(struct.unpack("<Hff", await ws.receive()), (7, 2.5, 2.5))
        for message in (b"nine", "ten bytes."):
            async with self.async_client.websocket("/points/") as ws:
                await ws.send(message)
                self.assertEqual(await ws.wait_closed(), 1003)
